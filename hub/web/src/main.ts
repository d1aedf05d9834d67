// The page: opens the frame, the live stream and the snapshot once, and a view for each address.
import "./style.css";
import { tick } from "./ages.ts";
import type { LiveSample, Problem, Realtime } from "./api.ts";
import type { People } from "./desk/people.ts";
import { Fleet } from "./fleet.ts";
import { Frame } from "./frame.ts";
import { HINT, signedInBefore } from "./hint.ts";
import { Live, type LiveState } from "./live.ts";
import { notFoundView } from "./notfound.ts";
import { asProblem, problem } from "./problem.ts";
import { follow, handed, match } from "./router.ts";
import { Snapshot } from "./snapshot.ts";
import { stationView } from "./station.ts";
import { stationsView } from "./stations.ts";
import { language, LANGUAGES, type Tag, type Words } from "./strings/language.ts";
import type { Page, View } from "./view.ts";

/** The secret of a mailed link, taken out of the address before anything else happens. */
let secret: ReturnType<typeof handed> = null;
takeSecret();

let words: Words;
let frame: Frame;
let go: (path: string) => void;
let view: View | null = null;
let path = "";
let state: LiveState = "connecting";
let trouble: Problem | null = null;
let loaded = false;
let trusted = false;
let people: Promise<People> | null = null;
let visits = 0;
const fleet = new Fleet();

const page: Page = {
  get words() {
    return words;
  },
  fleet,
  loaded: () => loaded,
  go: (to) => go(to),
  session: async () => (await signedIn()).session,
  handed: () => (secret?.path === location.pathname ? secret.token : null),
  retitle: () => {
    document.title = view === null ? "Harmattan" : `${view.title()} · Harmattan`;
  },
};

function takeSecret(): void {
  const found = handed(location.hash);
  if (found === null) return;
  secret = found;
  history.replaceState(null, "", found.path);
}

/** Who is signed in; asked once, and only when somebody signed in here before or is about to. */
function signedIn(): Promise<People> {
  people ??= import("./desk/people.ts").then(({ open }) => open({ frame: () => frame, tag: () => words.tag, other }));
  people.catch(() => (people = null));
  return people;
}

/** What is held was for another's eyes. */
function other(): void {
  trusted = true;
  if (loaded) void snapshot.ask();
  live.reopen();
  if (match(path)?.name === "desk") void arrived(new URL(location.href), false, true);
}

async function named(address: URL): Promise<View> {
  const route = match(address.pathname);
  if (route?.name === "station") return stationView(page, route.id, address.searchParams);
  if (route?.name === "about") return (await import("./about.ts")).aboutView(page);
  if (route?.name === "desk") return (await import("./desk/desk.ts")).deskView(page, address);
  return route?.name === "stations" ? stationsView(page) : notFoundView(page);
}

/** A part of the page that did not come is said, and asked for again by hand. */
const opened = (address: URL): Promise<View> =>
  named(address).catch((error: unknown) => {
    const again = () => void arrived(address, false, true);
    return { element: problem(asProblem(error), words, false, again), title: () => words.problemTitle(0) };
  });

/** Another language is another frame; another path another view; another query only a question to the view. */
async function arrived(address: URL, back: boolean, anew = false): Promise<void> {
  takeSecret();
  if (address.hash !== location.hash) address = new URL(location.href);
  const visit = ++visits;
  const tag = language(address.searchParams);
  const translated = tag !== words.tag;
  if (translated) await translate(tag);
  frame.arrived(address);
  if (view !== null && !translated && !anew && address.pathname === path && view.asked) {
    view.asked(address.searchParams);
    page.retitle();
    return;
  }
  const first = view === null;
  const next = await opened(address);
  if (visit !== visits) return next.close?.(); // somebody went on meanwhile
  view?.close?.();
  path = address.pathname;
  view = next;
  frame.main.replaceChildren(view.element);
  page.retitle();
  tick(words);
  if (first) return;
  if (!back && !anew) scrollTo(0, 0);
  view.element.querySelector<HTMLElement>("h1")?.focus({ preventScroll: true });
}

async function translate(tag: Tag): Promise<void> {
  words = await LANGUAGES[tag].load().catch(() => words); // not reached: the old language stays
  frame = new Frame(words);
  frame.live(state);
  void people?.then((held) => held.dress());
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

addEventListener("storage", (event) => {
  if (event.key === HINT && event.newValue !== null) void signedIn(); // somebody signed in, in another tab
});

/** Not awaited at the top: parts that are loaded later import from this file, and would wait for it to end. */
async function begin(): Promise<void> {
  words = await LANGUAGES[language(new URLSearchParams(location.search))].load();
  frame = new Frame(words);
  if (signedInBefore()) void signedIn();
  go = follow((address, back) => void arrived(address, back));
  await arrived(new URL(location.href), false);
  void snapshot.ask();
  setInterval(() => tick(words), 1000);
}

void begin();
