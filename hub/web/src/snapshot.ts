// /dashboard/realtime -> the fleet: at the start, after every (re)connection, and now and then. Failures are shown and tried
// again.
import { type Problem, type Realtime, realtime } from "./api.ts";
import { asProblem } from "./problem.ts";
import { hubTime } from "./time.ts";

/** The category changes by the hour; five minutes keep it true without costing a phone anything. */
const EVERY_MS = 300_000;
const FIRST_PAUSE_MS = 3_000;
const LONGEST_PAUSE_MS = 60_000;

export class Snapshot {
  private readonly came: (answer: Realtime) => void;
  private readonly failed: (problem: Problem) => void;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private pauseMs = FIRST_PAUSE_MS;
  private asking = false;
  private again = false;

  constructor(came: (answer: Realtime) => void, failed: (problem: Problem) => void) {
    this.came = came;
    this.failed = failed;
  }

  /** Asks now; who asks while it is being asked gets one more answer, not many. */
  async ask(): Promise<void> {
    if (this.asking) {
      this.again = true;
      return;
    }
    this.asking = true;
    clearTimeout(this.timer);
    try {
      const answer = await realtime();
      hubTime(answer.time);
      this.came(answer);
      this.pauseMs = FIRST_PAUSE_MS;
      this.later(EVERY_MS);
    } catch (error) {
      this.failed(asProblem(error));
      this.later(this.pauseMs);
      this.pauseMs = Math.min(this.pauseMs * 2, LONGEST_PAUSE_MS);
    } finally {
      this.asking = false;
    }
    if (this.again) {
      this.again = false;
      await this.ask();
    }
  }

  private later(pauseMs: number): void {
    this.timer = setTimeout(() => {
      if (document.visibilityState === "hidden") this.later(pauseMs);
      else void this.ask();
    }, pauseMs);
  }
}
