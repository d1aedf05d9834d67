// A path under /api/v1 in; the hub's answer as typed values out, or a Problem that says what went wrong.

export type Flag = 1 | 2 | 3 | 4 | 9;

/** One answer of one sensor. `values` are in `units`; null = missing. */
export interface Values {
  time: string;
  values: Record<string, number | null>;
  units: Record<string, string>;
  flags: Record<string, Flag>;
}

/** `period_s` is the averaging period [s], `resolution` the step of the values [unit]. */
export interface Channel {
  parameter: string;
  unit: string;
  place: "ambient" | "internal";
  period_s: number;
  resolution: number | null;
}

export interface Sensor {
  id: number;
  name: string;
  maker: string | null;
  model: string | null;
  serial: string | null;
  profile: string | null;
  firmware: string | null;
  station: number | null;
  channels: Channel[];
  caveats: string[];
  state?: string | null;
  latest: Values | null;
  last_seen: string | null;
}

export type Category = "good" | "moderate" | "unhealthy_for_sensitive_groups" | "unhealthy" | "very_unhealthy" | "hazardous";

/** The category of the hourly PM2.5 NowCast, or the reason why there is none yet. */
export interface Index {
  parameter: string;
  standard: string;
  version: string;
  averaging: string;
  input: string;
  value: number | null;
  unit: string;
  aqi: number | null;
  category: Category | null;
  reason: string | null;
  completeness: number | null;
  time: string | null;
}

export interface Station {
  id: number;
  name: string;
  latitude: number | null;
  longitude: number | null;
  altitude_m: number | null;
  timezone: string | null;
  visibility: string;
  last_seen: string | null;
  sensors: Sensor[];
  index: Index | null;
}

export interface Realtime {
  time: string;
  stations: Station[];
  last_event_id: string | null;
}

/** One page of readings: `rows` hold the columns named by `fields`, the first being the time. */
export interface ReadingsPage {
  fields: string[];
  units: string[];
  rows: (string | number | null)[][];
  meta: { limit: number; next: string | null };
}

/** What an event of /live carries. */
export interface LiveSample extends Values {
  station: number | null;
  sensor: number;
  name: string;
}

/** An answer that is no answer. `status` 0 = the hub was not reached at all; `body`: the whole document of the problem. */
export class Problem extends Error {
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  readonly body: Record<string, unknown>;
  readonly retryAfter: string | null;

  constructor(status: number, title: string, detail: string, body = {}, retryAfter: string | null = null) {
    super(detail || title);
    this.status = status;
    this.title = title;
    this.detail = detail;
    this.body = body;
    this.retryAfter = retryAfter;
  }
}

/** A stream of events, the browser's or one like it. */
export interface Source extends Pick<EventTarget, "addEventListener"> {
  close(): void;
}

/** Who asks for somebody that is signed in. */
export interface Asker {
  ask<T>(path: string, init: RequestInit): Promise<T>;
  listen(url: string): Source;
}

const DEADLINE_MS = 30_000;

let asker: Promise<Asker | null> = Promise.resolve(null);
let heard: Asker | null = null;

/** From now on it asks; what begins before it is there waits for it. */
export function askThrough(given: Promise<Asker | null>): void {
  asker = given.then((one) => (heard = one));
}

/** The events of a whole address, as whoever is signed in. */
export const listen = (url: string): Source => heard?.listen(url) ?? new EventSource(url);

async function problemOf(response: Response): Promise<Problem> {
  const text = (member: unknown): string => (typeof member === "string" ? member : "");
  const body = (await response.json().catch(() => ({}))) as Record<string, unknown>;
  const detail = [text(body.detail), text(body.hint)].filter(Boolean).join("; ");
  return new Problem(response.status, text(body.title) || response.statusText, detail, body, response.headers.get("Retry-After"));
}

/** One request, as it is told. Throws Problem, or AbortError when its signal says so. */
export async function send<T>(path: string, init: RequestInit = {}): Promise<T> {
  const { signal } = init;
  const deadline = new AbortController();
  const stop = () => deadline.abort();
  signal?.addEventListener("abort", stop);
  const timer = setTimeout(stop, DEADLINE_MS);
  try {
    const headers = { Accept: "application/json", ...init.headers };
    const response = await fetch(`/api/v1${path}`, { ...init, headers, signal: deadline.signal });
    if (!response.ok) throw await problemOf(response);
    const text = await response.text();
    return (text === "" ? undefined : JSON.parse(text)) as T;
  } catch (error) {
    if (error instanceof Problem) throw error;
    if (signal?.aborted) throw error;
    throw new Problem(0, "", error instanceof Error ? error.message : String(error));
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", stop);
  }
}

/** GET a path under /api/v1, as whoever is signed in. Throws as `send`. */
export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  const init = signal ? { signal } : {};
  const through = await asker;
  return through ? through.ask<T>(path, init) : send<T>(path, init);
}

export const realtime = (): Promise<Realtime> => get<Realtime>("/dashboard/realtime");

export const stationById = (id: number): Promise<Station> => get<Station>(`/stations/${id}`);

/** A page of one parameter's readings in [from, to) [Unix ms]; `cursor` as the page before gave it. */
export function readingsPage(
  sensor: number,
  parameter: string,
  range: { from: number; to: number },
  cursor: string | null,
  signal: AbortSignal,
): Promise<ReadingsPage> {
  const query = new URLSearchParams({
    from: new Date(range.from).toISOString(),
    to: new Date(range.to).toISOString(),
    parameters: parameter,
    limit: "10000",
  });
  if (cursor !== null) query.set("cursor", cursor);
  return get<ReadingsPage>(`/sensors/${sensor}/readings?${query.toString()}`, signal);
}
