// Times on the page in; their ages ticking out, once a second, without touching anything else.
import { type Attributes, element, setText } from "./dom.ts";
import type { Words } from "./strings/words.ts";
import { age, moment, now } from "./time.ts";

/** An hour without a value is silence, whatever the interval: the page says it by age and by a quieter ink. */
export const SILENT_AFTER_MS = 3_600_000;

/** `<time>12 sec. ago</time>`, ticking; the whole moment in the station's zone as its title. */
export function ageOf(time: string, zone: string | null, words: Words, attributes: Attributes = {}): HTMLTimeElement {
  const at = Date.parse(time);
  return element(
    "time",
    { datetime: time, title: moment(at, zone, words), "data-age": at, ...attributes },
    age(at, now(), words),
  );
}

/** Moves every age on the page to now. */
export function tick(words: Words): void {
  const at = now();
  for (const shown of document.querySelectorAll<HTMLTimeElement>("time[data-age]")) {
    const time = Number(shown.dataset.age);
    setText(shown, age(time, at, words));
    shown.closest("[data-aging]")?.classList.toggle("silent", at - time > SILENT_AFTER_MS);
  }
}
