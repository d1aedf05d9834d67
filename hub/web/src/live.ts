// /live -> samples, as they are stored. Keeps one stream open while the page is seen, and says in what state it is.
import { listen, type LiveSample, type Source } from "./api.ts";

export type LiveState = "connecting" | "live" | "reconnecting" | "paused" | "offline";

export interface Listener {
  state(state: LiveState): void;
  sample(sample: LiveSample): void;
  /** The stream flows. `resumed`: behind the last event that is known, so nothing is missing but what a chart was too early for. */
  opened(resumed: boolean): void;
  /** What is held may be wrong, not only old: fetch everything again. */
  reset(): void;
}

const URL_OF_LIVE = "/api/v1/live";
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 30_000;
/** After a longer break a snapshot is cheaper than every sample that came meanwhile. */
const LONG_BREAK_MS = 60_000;

export class Live {
  private readonly listener: Listener;
  private source: Source | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private pauseMs = FIRST_PAUSE_MS;
  private started = false;
  private behind: string | null = null;
  private lostAt: number | null = null;

  constructor(listener: Listener) {
    this.listener = listener;
    document.addEventListener("visibilitychange", () => this.follow());
    addEventListener("online", () => this.reopen());
    addEventListener("offline", () => this.close("offline"));
    addEventListener("pagehide", () => this.close("paused"));
    addEventListener("pageshow", () => this.follow());
  }

  /** The first time: behind the event that the snapshot already shows; null = from now on. */
  start(behind: string | null): void {
    if (this.started) return;
    this.started = true;
    this.behind = behind;
    this.follow();
  }

  /** A new connection, at once: the old one is dead although it does not know. */
  reopen(): void {
    if (!this.started) return;
    this.close("reconnecting");
    this.pauseMs = FIRST_PAUSE_MS;
    if (document.visibilityState !== "hidden") this.open("reconnecting");
  }

  /** Opens when the page is seen and closes when it is hidden: a browser has six connections to a hub, and a phone a battery. */
  private follow(): void {
    if (!this.started) return;
    if (document.visibilityState === "hidden") this.close("paused");
    else if (this.source === null && this.timer === undefined) this.open("connecting");
  }

  private close(state: LiveState): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.source?.close();
    this.source = null;
    this.lostAt ??= Date.now();
    this.listener.state(state);
  }

  private open(state: LiveState): void {
    this.listener.state(state);
    if (this.lostAt !== null && Date.now() - this.lostAt > LONG_BREAK_MS) this.behind = null;
    const resumed = this.behind !== null;
    const query = this.behind === null ? "" : `?${new URLSearchParams({ last_event_id: this.behind }).toString()}`;
    const source = listen(URL_OF_LIVE + query);
    this.source = source;
    source.addEventListener("open", () => {
      this.pauseMs = FIRST_PAUSE_MS;
      this.lostAt = null;
      this.listener.state("live");
      this.listener.opened(resumed);
    });
    source.addEventListener("sample", (event) => this.sample(event as MessageEvent));
    source.addEventListener("reset", () => this.listener.reset());
    source.addEventListener("error", () => this.failed(source));
  }

  private sample(event: MessageEvent): void {
    let sample: LiveSample;
    try {
      sample = JSON.parse(event.data as string) as LiveSample;
    } catch {
      return; // a cut event: it comes again behind the last whole one
    }
    this.behind = event.lastEventId || this.behind;
    if (typeof sample.sensor === "number" && sample.values && sample.time) this.listener.sample(sample);
  }

  /** A browser gives up after a refusal (503, a proxy's page) and else replays a whole night; so the next try is always ours. */
  private failed(source: Source): void {
    if (source !== this.source) return;
    this.close(navigator.onLine ? "reconnecting" : "offline");
    this.timer = setTimeout(
      () => {
        this.timer = undefined;
        if (document.visibilityState !== "hidden") this.open("reconnecting");
      },
      this.pauseMs * (0.5 + Math.random() / 2),
    );
    this.pauseMs = Math.min(this.pauseMs * 2, LONGEST_PAUSE_MS);
  }
}
