// Rows of /readings and live samples in; one parameter of one sensor as ascending columns out. No I/O here.
import type { Flag } from "./api.ts";

/** `times` [Unix ms] ascend strictly; a value of null is missing. */
export interface Series {
  readonly times: number[];
  readonly values: (number | null)[];
  readonly flags: Flag[];
}

/** What is drawn: times [Unix ms] ascend, null lifts the pen. */
export interface Points {
  times: number[];
  values: (number | null)[];
}

export const empty = (): Series => ({ times: [], values: [], flags: [] });

/** The index of the first time >= `time`. */
export function firstFrom(times: readonly number[], time: number): number {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((times[middle] as number) < time) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Puts one reading where its time belongs; the same time again is a revision. A backlog may come late, so the place
 * may be the middle.
 */
export function put(series: Series, time: number, value: number | null, flag: Flag): void {
  if (!Number.isFinite(time)) return;
  const at = firstFrom(series.times, time);
  const replaced = series.times[at] === time ? 1 : 0;
  series.times.splice(at, replaced, time);
  series.values.splice(at, replaced, value);
  series.flags.splice(at, replaced, flag);
}

/** Drops what is older than `from` [Unix ms], so that an open page does not grow for ever. */
export function dropBefore(series: Series, from: number): void {
  const count = firstFrom(series.times, from);
  series.times.splice(0, count);
  series.values.splice(0, count);
  series.flags.splice(0, count);
}

/** Puts the rows of a page, finding its columns by name. */
export function putRows(
  series: Series,
  parameter: string,
  fields: readonly string[],
  rows: readonly (string | number | null)[][],
): void {
  const time = fields.indexOf("time");
  const value = fields.indexOf(parameter);
  const flag = fields.indexOf(`${parameter}_flag`);
  if (time < 0 || value < 0) return;
  for (const row of rows) {
    const held = row[value];
    const number = typeof held === "number" ? held : null;
    const given = flag < 0 ? null : row[flag];
    put(series, Date.parse(String(row[time])), number, (typeof given === "number" ? given : number === null ? 9 : 2) as Flag);
  }
}
