// A station's index in; the category of its hourly NowCast as number and word out. Single values never get a colour.
import type { Index } from "./api.ts";
import { element } from "./dom.ts";
import { digits, percent, unit, whole } from "./numbers.ts";
import type { Words } from "./strings/words.ts";

/** A chip, and in small what it is a category of; nothing where nobody measures PM2.5. `data-category` is the category, or the reason why there is none. */
export function category(index: Index | null, words: Words): HTMLElement {
  if (index === null) return element("p", { class: "category", "data-category": "none", hidden: true });
  if (index.category === null) return unknown(index, words);
  const number = index.aqi === null ? null : element("b", { title: words.aqiNumber }, whole(index.aqi, words));
  const chip = element(
    "span",
    { class: `chip ${index.category}` },
    number,
    number && " ",
    words.categories[index.category] ?? index.category,
  );
  const value = index.value === null ? "" : ` · ${digits(index.value, 0.1, words)} ${unit(index.unit)}`;
  return element(
    "p",
    { class: "category", "data-category": index.category },
    chip,
    " ",
    element("small", {}, words.nowcastOf + value),
  );
}

function unknown(index: Index, words: Words): HTMLElement {
  const share = index.completeness;
  const chip = element("span", { class: "chip none" }, words.notEnoughData);
  const note = share === null ? words.nowcastOf : `${words.nowcastOf} · ${words.completeness(percent(share, words))}`;
  return element(
    "p",
    { class: "category", "data-category": index.reason ?? "not_enough_data" },
    chip,
    " ",
    element("small", {}, note),
  );
}
