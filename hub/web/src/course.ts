// One parameter of one sensor over a range -> its figure: loads it page by page, keeps it up with live samples, says it in words.
import type { LiveSample, Sensor, Channel } from "./api.ts";
import type { Chart } from "./chart.ts";
import { element, setText } from "./dom.ts";
import { digits, percent, unit, whole } from "./numbers.ts";
import { title } from "./parameters.ts";
import { asProblem, problem } from "./problem.ts";
import { load } from "./readings.ts";
import { dropBefore, empty, put } from "./series.ts";
import { summary } from "./summary.ts";
import { now } from "./time.ts";
import type { Page } from "./view.ts";

/** The axis moves on even when nothing comes, and the words follow more slowly than the line. */
const MOVE_EVERY_MS = 15_000;
/** A gateway's clock may run a little ahead. */
const AHEAD_MS = 60_000;

export class Course {
  readonly element: HTMLElement;
  private readonly page: Page;
  private readonly sensor: Sensor;
  private readonly channel: Channel;
  private readonly hours: number;
  private readonly zone: string | null;
  private readonly status = element("div", { class: "progress" });
  private readonly facts = element("p", { class: "facts" });
  private readonly frame = element("div");
  private readonly series = empty();
  private readonly timer: ReturnType<typeof setInterval>;
  private loading = new AbortController();
  private chart: Chart | null = null;
  private drawing = 0;
  private upTo = 0;
  private again = false;
  private closed = false;

  constructor(page: Page, asked: { sensor: Sensor; channel: Channel; hours: number; zone: string | null }) {
    this.page = page;
    this.sensor = asked.sensor;
    this.channel = asked.channel;
    this.hours = asked.hours;
    this.zone = asked.zone;
    const model = [asked.sensor.maker, asked.sensor.model].filter(Boolean).join(" ");
    const caption = element(
      "figcaption",
      {},
      element("b", {}, title(asked.channel.parameter, page.words)),
      ` ${unit(asked.channel.unit)}`,
    );
    caption.append(element("small", {}, [asked.sensor.name, model].filter(Boolean).join(" · ")));
    this.element = element("figure", { class: "course", "data-course": `${asked.sensor.name} ${asked.channel.parameter}` });
    this.element.append(caption, this.status, this.frame, this.facts);
    this.timer = setInterval(() => this.tell(), MOVE_EVERY_MS);
    void this.start();
  }

  close(): void {
    this.closed = true;
    this.loading.abort();
    clearInterval(this.timer);
    cancelAnimationFrame(this.drawing);
    this.chart?.close();
  }

  /** A stored sample, from wherever in time. */
  sample(sample: LiveSample): void {
    if (sample.sensor !== this.sensor.id || !(this.channel.parameter in sample.values)) return;
    const value = sample.values[this.channel.parameter] ?? null;
    put(this.series, Date.parse(sample.time), value, sample.flags[this.channel.parameter] ?? (value === null ? 9 : 2));
    this.drawSoon();
  }

  /** Fetches what came since the last load; everything when what is held may be wrong. */
  missed(whole: boolean): void {
    if (whole) {
      dropBefore(this.series, Infinity);
      void this.load(this.from());
    } else if (this.upTo === 0) this.again = true;
    else void this.load(Math.max(this.from(), Math.min(this.upTo, this.series.times.at(-1) ?? this.upTo)));
  }

  private from(): number {
    return now() - this.hours * 3_600_000;
  }

  private async start(): Promise<void> {
    const loaded = await import("./chart.ts").catch(() => null);
    if (this.closed) return;
    if (loaded === null) {
      this.status.replaceChildren(problem(asProblem(null), this.page.words, false, () => void this.start()));
      return;
    }
    const { Chart } = loaded;
    const label = this.page.words.chartLabel(title(this.channel.parameter, this.page.words), this.sensor.name);
    this.chart = new Chart({ channel: this.channel, label, zone: this.zone, words: this.page.words });
    this.frame.replaceChildren(this.chart.element);
    await this.load(this.from());
  }

  private async load(from: number): Promise<void> {
    this.loading.abort();
    const loading = new AbortController();
    this.loading = loading;
    this.element.dataset.loading = "true";
    try {
      const asked = { sensor: this.sensor.id, parameter: this.channel.parameter, from, to: now() + AHEAD_MS };
      await load(asked, this.series, (share) => this.progress(share), loading.signal);
      this.upTo = asked.to - AHEAD_MS;
      this.status.replaceChildren();
      this.tell();
      this.element.dataset.loading = "false";
      if (this.again) {
        this.again = false;
        this.missed(false);
      }
    } catch (error) {
      if (loading.signal.aborted) return;
      const again = () => void this.load(from);
      this.status.replaceChildren(problem(asProblem(error), this.page.words, this.series.times.length > 0, again));
    }
  }

  private progress(share: number): void {
    const { words } = this.page;
    const bar = element("progress", { max: 1, value: share });
    const label = element("label", {}, words.loading(percent(share, words)), " ", bar);
    this.status.replaceChildren(...(share < 1 ? [label] : []));
    this.drawSoon();
  }

  private drawSoon(): void {
    if (this.drawing !== 0 || this.closed) return;
    this.drawing = requestAnimationFrame(() => {
      this.drawing = 0;
      this.draw();
    });
  }

  private draw(): void {
    const to = now();
    dropBefore(this.series, to - this.hours * 3_600_000);
    this.chart?.draw(this.series, to - this.hours * 3_600_000, Math.max(to, this.series.times.at(-1) ?? 0));
  }

  /** The chart in words. */
  private tell(): void {
    this.draw();
    const { words } = this.page;
    const told = summary(this.series);
    const number = (value: number | null) =>
      value === null ? "–" : `${digits(value, this.channel.resolution, words)} ${unit(this.channel.unit)}`;
    if (told.count === 0) return setText(this.facts, words.nothingInRange);
    const parts = [
      words.count(told.count, whole(told.count, words)),
      `${words.lowest} ${number(told.lowest)}`,
      `${words.median} ${number(told.median)}`,
      `${words.highest} ${number(told.highest)}`,
    ];
    const gaps = this.chart?.gapCount ?? 0;
    if (gaps > 0) parts.push(`▒ ${words.gaps(gaps, whole(gaps, words))}`);
    if (told.suspect > 0) parts.push(`△ ${words.suspects(told.suspect, whole(told.suspect, words))}`);
    if (told.fail > 0) parts.push(`✕ ${words.fails(told.fail, whole(told.fail, words))}`);
    setText(this.facts, parts.join(" · "));
  }
}
