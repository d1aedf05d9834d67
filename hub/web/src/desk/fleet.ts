// Gateways in; in order, and each one's figures as words. No I/O here.
import { digits, percent, whole } from "../numbers.ts";
import { span } from "../time.ts";
import type { Words } from "../strings/words.ts";

export type GatewayState = "invited" | "enrolled" | "revoked";

export interface Gateway {
  id: number;
  name: string;
  state: GatewayState;
  kind?: "edge" | "push";
  network?: number | null;
  enrolled: string | null;
  revoked: string | null;
  last_seen: string | null;
  sensors: number;
  online?: boolean | null;
  pending?: number | null;
  completeness?: { hours: number; share: number | null } | null;
  version?: string | null;
  clock?: string | ClockState | null;
  gaps?: number | null;
  lost?: number | null;
}

export interface ClockState {
  state?: string | null;
  offset_ms?: number | null;
}

export const SORTS = ["name", "seen", "pending", "completeness", "version", "gaps", "lost"] as const;
export type Sort = (typeof SORTS)[number];

/** What is not known sorts as the least. */
const KEYS: Record<Sort, (one: Gateway) => string | number> = {
  name: ({ name }) => name,
  seen: ({ last_seen }) => last_seen ?? "",
  pending: ({ pending }) => pending ?? -1,
  completeness: ({ completeness }) => completeness?.share ?? -1,
  version: ({ version }) => version ?? "",
  gaps: ({ gaps }) => gaps ?? -1,
  lost: ({ lost }) => lost ?? -1,
};

export const isSort = (text: string | null): text is Sort => (SORTS as readonly string[]).includes(text ?? "");

/** Numbers within words as numbers: `lagos-2` before `lagos-10`, version 0.9 before 0.10. */
export function sorted(gateways: readonly Gateway[], by: Sort, down: boolean): Gateway[] {
  const key = KEYS[by];
  const compare = (a: Gateway, b: Gateway): number => {
    const [x, y] = [key(a), key(b)];
    const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), "en", { numeric: true });
    return (down ? -order : order) || a.name.localeCompare(b.name, "en", { numeric: true });
  };
  return [...gateways].sort(compare);
}

export const counted = (count: number | null | undefined, words: Words): string => (count === null || count === undefined ? "–" : whole(count, words));

export const share = (gateway: Gateway, words: Words): string =>
  gateway.completeness?.share === null || gateway.completeness?.share === undefined ? "–" : percent(gateway.completeness.share, words);

/** The clock as the gateway tells it: a word, or by how much it is off. */
export function clock(given: Gateway["clock"], words: Words): string {
  if (given === null || given === undefined) return "–";
  if (typeof given === "string") return given;
  const { state, offset_ms } = given;
  if (offset_ms === null || offset_ms === undefined) return state ?? "–";
  const off = Math.abs(offset_ms) < 10_000 ? `${digits(Math.round(offset_ms / 100) / 10, null, words)} s` : span(Math.round(offset_ms / 1000), words);
  return [state, off].filter(Boolean).join(", ");
}
