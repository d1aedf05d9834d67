// The page: opens the frame, the live stream and the snapshot once, and a view for each address.
import "./style.css";
import { aboutView } from "./about.ts";
import { tick } from "./ages.ts";
import type { LiveSample, Problem, Realtime } from "./api.ts";
import { Fleet } from "./fleet.ts";
import { Frame } from "./frame.ts";
import { Live, type LiveState } from "./live.ts";
import { notFoundView } from "./notfound.ts";
import { follow, match } from "./router.ts";
import { Snapshot } from "./snapshot.ts";
import { stationView } from "./station.ts";
import { stationsView } from "./stations.ts";
import { language, LANGUAGES, type Tag } from "./strings/language.ts";
import type { Page, View } from "./view.ts";

let words = await LANGUAGES[language(new URLSearchParams(location.search))].load();
let frame = new Frame(words);
let view: View | null = null;
let path = "";
let state: LiveState = "connecting";
let trouble: Problem | null = null;
let loaded = false;
let trusted = false;
const fleet = new Fleet();

const page: Page = {
  get words() {
    return words;
  },
  fleet,
  loaded: () => loaded,
  go: (to) => go(to),
  retitle: () => {
    document.title = view === null ? "Harmattan" : `${view.title()} · Harmattan`;
  },
};

function opened(address: URL): View {
  const route = match(address.pathname);
  if (route?.name === "station") return stationView(page, route.id, address.searchParams);
  if (route?.name === "about") return aboutView(page);
  return route?.name === "stations" ? stationsView(page) : notFoundView(page);
}

/** Another language is another frame; another path another view; another query only a question to the view. */
async function arrived(address: URL, back: boolean): Promise<void> {
  const tag = language(address.searchParams);
  const translated = tag !== words.tag;
  if (translated) await translate(tag);
  frame.arrived(address);
  if (view !== null && !translated && address.pathname === path && view.asked) {
    view.asked(address.searchParams);
    page.retitle();
    return;
  }
  const first = view === null;
  view?.close?.();
  path = address.pathname;
  view = opened(address);
  frame.main.replaceChildren(view.element);
  page.retitle();
  tick(words);
  if (first) return;
  if (!back) scrollTo(0, 0);
  view.element.querySelector<HTMLElement>("h1")?.focus({ preventScroll: true });
}

async function translate(tag: Tag): Promise<void> {
  words = await LANGUAGES[tag].load().catch(() => words); // not reached: the old language stays
  frame = new Frame(words);
  frame.live(state);
  complain();
}

function complain(): void {
  frame.problem(trouble, loaded, () => void snapshot.ask());
}

/** The newest value that is held [Unix ms]. */
const newestHeld = (): number =>
  Math.max(
    0,
    ...fleet.stations.flatMap((station) => station.sensors.map((sensor) => Date.parse(sensor.latest?.time ?? "") || 0)),
  );

const SILENT_STREAM_MS = 120_000;

function came(answer: Realtime): void {
  const before = newestHeld();
  fleet.take(answer.stations, trusted);
  const overtaken = loaded && state === "live" && newestHeld() - before > SILENT_STREAM_MS;
  loaded = true;
  trusted = false;
  trouble = null;
  complain();
  view?.changed?.(null);
  live.start(answer.last_event_id);
  // The stream says it is open and yet was overtaken by asking: a link that died without a word.
  if (overtaken) live.reopen();
}

function sampled(sample: LiveSample): void {
  const station = fleet.apply(sample);
  if (station === undefined)
    void snapshot.ask(); // a station or sensor that appeared just now
  else if (station !== null) view?.changed?.(station);
  view?.sample?.(sample);
}

const snapshot = new Snapshot(came, (problem) => {
  trouble = problem;
  complain();
  if (!loaded) frame.live("reconnecting");
});

const live = new Live({
  state: (now) => {
    state = now;
    frame.live(now);
  },
  sample: sampled,
  opened: (resumed) => {
    if (!resumed) void snapshot.ask();
    view?.missed?.(false);
  },
  reset: () => {
    trusted = true;
    void snapshot.ask();
    view?.missed?.(true);
  },
});

const FRESH_MS = 60_000;

// After an upgrade of the hub an open page asks for parts that are gone: load the new page, but never in a circle.
addEventListener("vite:preloadError", () => {
  if (performance.now() > FRESH_MS && navigator.onLine) location.reload();
});

const go = follow((address, back) => void arrived(address, back));
await arrived(new URL(location.href), false);
void snapshot.ask();
setInterval(() => tick(words), 1000);
