// An address that leads nowhere -> a view that says where to go.
import { element } from "./dom.ts";
import type { Page, View } from "./view.ts";

export function notFoundView({ words }: Page): View {
  const back = element("p", {}, element("a", { href: "/" }, words.allStations));
  return {
    element: element(
      "div",
      { class: "prose" },
      element("h1", { tabindex: -1 }, words.notFound),
      element("p", {}, words.notFoundHint),
      back,
    ),
    title: () => words.notFound,
  };
}
