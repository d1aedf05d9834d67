// A series in; its counts, extremes and median out: the chart in words. Failed values are counted, not averaged. No I/O here.
import type { Series } from "./series.ts";

export interface Summary {
  count: number;
  lowest: number | null;
  median: number | null;
  highest: number | null;
  suspect: number;
  fail: number;
}

export function summary(series: Series): Summary {
  const usable = Float64Array.from(
    series.values.filter((value, i): value is number => value !== null && series.flags[i] !== 4),
  ).sort();
  const low = usable[(usable.length - 1) >> 1];
  const high = usable[usable.length >> 1];
  return {
    count: series.times.length,
    lowest: usable[0] ?? null,
    median: low === undefined || high === undefined ? null : (low + high) / 2,
    highest: usable.at(-1) ?? null,
    suspect: series.flags.filter((flag) => flag === 3).length,
    fail: series.flags.filter((flag) => flag === 4).length,
  };
}
