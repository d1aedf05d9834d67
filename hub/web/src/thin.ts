// Many points in; as few as a screen can show out, every peak, every trough and every gap kept. No I/O here.
import type { Points } from "./series.ts";

/** First, lowest, highest and last of one column of pixels, each once, in order of time. */
function keep(points: Points, from: number, to: number, out: Points): void {
  let low = from;
  let high = from;
  for (let i = from + 1; i < to; i += 1) {
    if ((points.values[i] as number) < (points.values[low] as number)) low = i;
    if ((points.values[i] as number) > (points.values[high] as number)) high = i;
  }
  const chosen = [...new Set([from, low, high, to - 1])].sort((a, b) => a - b);
  for (const i of chosen) {
    out.times.push(points.times[i] as number);
    out.values.push(points.values[i] as number);
  }
}

/**
 * At most four points for each of `columns` pixels between `from` and `to` [Unix ms], plus one missing value for each
 * run of them.
 */
export function thin(points: Points, from: number, to: number, columns: number): Points {
  const { times, values } = points;
  const out: Points = { times: [], values: [] };
  const column = (i: number) => Math.floor((((times[i] as number) - from) / (to - from)) * columns);
  let i = 0;
  while (i < times.length) {
    const start = i;
    if (values[i] === null) {
      while (i < times.length && values[i] === null) i += 1;
      out.times.push(times[start] as number);
      out.values.push(null);
      continue;
    }
    const here = column(i);
    while (i < times.length && values[i] !== null && column(i) === here) i += 1;
    keep(points, start, i, out);
  }
  return out;
}
