// Words -> what the values, flags and colours of this page mean.
import type { Category, Flag } from "./api.ts";
import { element } from "./dom.ts";
import { ABOUT } from "./strings/about.ts";
import { quality } from "./values.ts";
import type { Page, View } from "./view.ts";

export function aboutView({ words }: Page): View {
  const told = ABOUT[words.tag];
  const flags = element("dl", { class: "legend" });
  for (const flag of [1, 2, 3, 4, 9] as Flag[]) {
    flags.append(element("div", {}, element("dt", {}, quality(flag, words)), element("dd", {}, words.flagMeanings[flag])));
  }
  const chips = element("ul", { class: "chips" });
  for (const name of Object.keys(words.categories) as Category[]) {
    chips.append(element("li", {}, element("span", { class: `chip ${name}` }, words.categories[name])));
  }
  const text = element(
    "div",
    { class: "prose" },
    element("h1", { tabindex: -1 }, words.about),
    element("p", { class: "summary" }, told.aboutLead),
    element("h2", {}, told.aboutValues),
    element("p", {}, told.aboutValuesText),
    element("h2", {}, told.aboutFlags),
    flags,
    element("h2", {}, told.aboutCategory),
    element("p", {}, told.aboutCategoryText),
    chips,
    element("h2", {}, told.aboutData),
    element("p", {}, told.aboutDataText, " ", element("a", { href: "/api-docs" }, told.apiDocumentation)),
  );
  return { element: text, title: () => words.about };
}
