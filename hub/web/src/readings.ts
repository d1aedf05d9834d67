// A sensor, a parameter and a range in; its whole series out, page after page. The hub gives pages oldest first.
import { readingsPage } from "./api.ts";
import { type Series, putRows } from "./series.ts";

export interface Asked {
  sensor: number;
  parameter: string;
  from: number;
  to: number;
}

/**
 * Fills `series` with readings in [from, to) [Unix ms]. `progress` hears the share of the range that is there (0 to
 * 1) after each page.
 */
export async function load(asked: Asked, series: Series, progress: (share: number) => void, signal: AbortSignal): Promise<void> {
  let cursor: string | null = null;
  do {
    const page = await readingsPage(asked.sensor, asked.parameter, asked, cursor, signal);
    putRows(series, asked.parameter, page.fields, page.rows);
    // A cursor that does not move would ask for ever.
    const next: string | null = page.rows.length > 0 && page.meta.next !== cursor ? page.meta.next : null;
    cursor = next;
    const reached = Date.parse(String(page.rows.at(-1)?.[0] ?? ""));
    const share = (reached - asked.from) / (asked.to - asked.from);
    progress(cursor === null ? 1 : Math.min(Math.max(share, 0), 1) || 0);
  } while (cursor !== null);
}
