// A shown parameter in; its value with unit and quality as elements out. The data attributes are names that tests and people's
// scripts rely on.
import type { Flag } from "./api.ts";
import { element } from "./dom.ts";
import { digits, unit } from "./numbers.ts";
import { type Shown, title } from "./parameters.ts";
import type { Words } from "./strings/words.ts";
import { moment, span } from "./time.ts";

const MARKS: Record<Flag, string> = { 1: "✓", 2: "·", 3: "△", 4: "✕", 9: "○" };

/** Mark and word of a flag: colour alone tells nothing to one man in twelve, nor on a wall in the sun. */
export function quality(flag: Flag, words: Words): HTMLElement {
  const mark = element("span", { class: "mark", "aria-hidden": "true" }, MARKS[flag]);
  return element(
    "span",
    { class: `quality flag-${flag}`, title: words.flagMeanings[flag] },
    mark,
    " ",
    words.flags[flag] ?? String(flag),
  );
}

export const isTrouble = (flag: Flag): boolean => flag === 3 || flag === 4 || flag === 9;

/** The number alone, with what it is in its data attributes. */
export function number(shown: Shown, zone: string | null, words: Words): HTMLElement {
  const { sensor, channel, value, flag, time } = shown;
  const text = value === null ? "–" : digits(value, channel.resolution, words);
  const attributes = {
    class: "number",
    "data-sensor": sensor.name,
    "data-parameter": channel.parameter,
    "data-value": value === null ? "" : String(value),
    "data-flag": flag,
    "data-time": time,
    title: time === null ? null : moment(Date.parse(time), zone, words),
  };
  return element("span", attributes, text);
}

export const unitOf = (shown: Shown): HTMLElement | null => {
  const text = unit(shown.channel.unit);
  return text === "" || shown.value === null ? null : element("span", { class: "unit" }, text);
};

/** What else is to be known of a channel: inside the housing, a mean over a minute. */
export function about(shown: Shown, words: Words): string {
  const { place, period_s } = shown.channel;
  const parts = [place === "internal" ? words.internal : "", period_s > 0 ? words.averagedOver(span(period_s, words)) : ""];
  return parts.filter(Boolean).join(", ");
}

/** `<div><dt>PM10</dt><dd>31.0 µg/m³</dd></div>` for a description list. */
export function term(shown: Shown, zone: string | null, words: Words): HTMLElement {
  const name = element("dt", {}, title(shown.channel.parameter, words));
  if (shown.channel.place === "internal") name.append(" ", element("small", {}, `(${words.internal})`));
  const trouble = isTrouble(shown.flag) && quality(shown.flag, words);
  return element(
    "div",
    { class: "term" },
    name,
    element("dd", {}, number(shown, zone, words), " ", unitOf(shown), trouble && " ", trouble),
  );
}
