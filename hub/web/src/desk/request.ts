// A method, a path and a body in; the hub's answer out, asked for by whoever is signed in. And what a problem says.
import { type Asker, type Problem, send } from "../api.ts";

let asker: Asker | null = null;

/** From now on requests are those of somebody. */
export function requestThrough(given: Asker): void {
  asker = given;
}

export interface Asked {
  body?: unknown;
  signal?: AbortSignal | undefined;
}

export function init(method: string, { body, signal }: Asked = {}): RequestInit {
  const told: RequestInit = signal ? { method, signal } : { method };
  return body === undefined ? told : { ...told, body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
}

/** Throws Problem, or AbortError when the signal says so. */
export function request<T>(method: string, path: string, asked: Asked = {}): Promise<T> {
  return asker === null ? send<T>(path, init(method, asked)) : asker.ask<T>(path, init(method, asked));
}

/** Nobody's request: signing in, and what a link's secret pays for. */
export const plainly = <T>(method: string, path: string, body: unknown): Promise<T> => send<T>(path, init(method, { body }));

/** The last part of a problem's type: `login-failed`. */
export const kindOf = ({ body }: Problem): string => (typeof body.type === "string" ? (body.type.split("/").at(-1) ?? "") : "");

/** Values that cannot be used, by name. */
export const mistakesOf = ({ body }: Problem): { name: string; why: string }[] =>
  Array.isArray(body.errors) ? (body.errors as { name: string; why: string }[]) : [];

/** How long to wait [s], null where nobody said. */
export const waitOf = ({ retryAfter }: Problem): number | null => Number.parseInt(retryAfter ?? "", 10) || null;
