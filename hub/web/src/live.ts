// /live -> samples, as they are stored. Keeps one EventSource open while the page is seen, and says in what state it is.
import type { LiveSample } from "./api.ts";

export type LiveState = "connecting" | "live" | "reconnecting" | "paused" | "offline";

export interface Listener {
  state(state: LiveState): void;
  sample(sample: LiveSample): void;
  /** What came meanwhile is not known: fetch again. `whole`: whatever is held may be wrong, not only old. */
  missed(whole: boolean): void;
}

const URL_OF_LIVE = "/api/v1/live";
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 30_000;

export class Live {
  private readonly listener: Listener;
  private source: EventSource | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private pauseMs = FIRST_PAUSE_MS;

  constructor(listener: Listener) {
    this.listener = listener;
    document.addEventListener("visibilitychange", () => this.follow());
    addEventListener("online", () => this.reopen());
    addEventListener("offline", () => this.close("offline"));
    addEventListener("pagehide", () => this.close("paused"));
    addEventListener("pageshow", () => this.follow());
  }

  /** Opens when the page is seen and closes when it is hidden: a browser has six connections to a hub, and a phone a battery. */
  follow(): void {
    if (document.visibilityState === "hidden") this.close("paused");
    else if (this.source === null && this.timer === undefined) this.open("connecting");
  }

  /** A new connection, at once: the old one is dead although it does not know. */
  reopen(): void {
    this.close("reconnecting");
    this.pauseMs = FIRST_PAUSE_MS;
    if (document.visibilityState !== "hidden") this.open("reconnecting");
  }

  private close(state: LiveState): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.source?.close();
    this.source = null;
    this.listener.state(state);
  }

  private open(state: LiveState): void {
    this.listener.state(state);
    const source = new EventSource(URL_OF_LIVE);
    this.source = source;
    source.addEventListener("open", () => {
      this.pauseMs = FIRST_PAUSE_MS;
      this.listener.state("live");
      this.listener.missed(false);
    });
    source.addEventListener("sample", (event) => this.sample(event.data as string));
    source.addEventListener("reset", () => this.listener.missed(true));
    source.addEventListener("error", () => this.failed(source));
  }

  private sample(data: string): void {
    let sample: LiveSample;
    try {
      sample = JSON.parse(data) as LiveSample;
    } catch {
      return; // a cut event: the next refetch brings it
    }
    if (typeof sample.sensor === "number" && sample.values && sample.time) this.listener.sample(sample);
  }

  /**
   * A lost connection the browser opens again by itself, with Last-Event-ID; after a refusal (503, a proxy's page) it
   * gives up, and we do not.
   */
  private failed(source: EventSource): void {
    if (source !== this.source) return;
    this.listener.state(navigator.onLine ? "reconnecting" : "offline");
    if (source.readyState !== EventSource.CLOSED) return;
    this.source = null;
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
