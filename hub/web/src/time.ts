// Moments in; ages and local times as words of a language out. Ages follow the hub's clock, because a phone's may be wrong.
import type { Words } from "./strings/words.ts";

let offsetMs = 0;

/** The hub said what time it is [RFC 3339]; ages count from there. */
export function hubTime(time: string): void {
  const said = Date.parse(time);
  if (Number.isFinite(said)) offsetMs = said - Date.now();
}

/** Now by the hub's clock [Unix ms]. */
export const now = (): number => Date.now() + offsetMs;

const STEPS: [Intl.RelativeTimeFormatUnit, number][] = [
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
  ["second", 1],
];

/** `12 sec. ago`, never more than one unit; under a second, and for a clock that runs ahead, `now`. */
export function age(time: number, at: number, words: Words): string {
  const seconds = Math.floor((at - time) / 1000);
  if (!(seconds >= 1)) return words.now;
  const [unit, size] = STEPS.find(([, step]) => seconds >= step) ?? ["second", 1];
  return new Intl.RelativeTimeFormat(words.locale, { numeric: "always", style: "short" }).format(
    -Math.floor(seconds / size),
    unit,
  );
}

/** A formatter in the station's time zone; one that the browser does not know falls back to UTC. */
export function inZone(zone: string | null, locale: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  try {
    return new Intl.DateTimeFormat(locale, { ...options, hourCycle: "h23", timeZone: zone ?? "UTC" });
  } catch {
    return new Intl.DateTimeFormat(locale, { ...options, hourCycle: "h23", timeZone: "UTC" });
  }
}

/** `25 Nov 2026, 14:03:12 GMT+1`. */
export function moment(time: number, zone: string | null, words: Words): string {
  const format = inZone(zone, words.locale, {
    day: "numeric",
    month: "short",
    year: "numeric",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    timeZoneName: "short",
  });
  return format.format(time);
}

/** `2 s`, `1 min`, `1 h` as the language writes it. */
export function span(seconds: number, words: Words): string {
  const [unit, size] = STEPS.find(([, step]) => seconds >= step && seconds % step === 0) ?? ["second", 1];
  return new Intl.NumberFormat(words.locale, { style: "unit", unit, unitDisplay: "short" }).format(seconds / size);
}
