// Times and values in; the stretches without data out, and where a line must break. No I/O here.
import type { Points, Series } from "./series.ts";

/** Nothing was measured between `from` and `to` [Unix ms]. */
export interface Gap {
  from: number;
  to: number;
}

/** A gap is more than this many usual spacings: two lost samples in a row are an accident, three a silence. */
const SPACINGS = 3;

/** The usual spacing [ms]: the median, which a night without power does not move. NaN with fewer than 2 times. */
export function usualSpacing(times: readonly number[]): number {
  const steps = new Float64Array(Math.max(times.length - 1, 0));
  for (let i = 0; i < steps.length; i += 1) steps[i] = (times[i + 1] as number) - (times[i] as number);
  steps.sort();
  return steps[steps.length >> 1] ?? NaN;
}

/** The longest spacing [ms] that is no gap. */
export const longestSpacing = (times: readonly number[]): number => SPACINGS * usualSpacing(times);

/** The gaps between present values: a spacing over `longest` [ms], or missing values in between. */
export function gaps(series: Series, longest: number): Gap[] {
  const found: Gap[] = [];
  let last = -1;
  for (let i = 0; i < series.times.length; i += 1) {
    if (series.values[i] === null) continue;
    const from = series.times[last];
    const to = series.times[i] as number;
    if (from !== undefined && (last < i - 1 || to - from > longest)) found.push({ from, to });
    last = i;
  }
  return found;
}

/**
 * The points of a line: a missing value inside every gap lifts the pen, and so does a failed value, which is drawn as
 * a mark instead.
 */
export function line(series: Series, longest: number): Points {
  const out: Points = { times: [], values: [] };
  for (let i = 0; i < series.times.length; i += 1) {
    const time = series.times[i] as number;
    const before = series.times[i - 1];
    if (before !== undefined && time - before > longest) {
      out.times.push((before + time) / 2);
      out.values.push(null);
    }
    out.times.push(time);
    out.values.push(series.flags[i] === 4 ? null : (series.values[i] as number | null));
  }
  return out;
}
