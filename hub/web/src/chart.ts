// A series in; a chart of it out. Gaps are shaded and never bridged, suspect and failed values carry marks, peaks survive the
// thinning.
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Channel } from "./api.ts";
import { element, setText } from "./dom.ts";
import { type Gap, gaps, line, longestSpacing } from "./gaps.ts";
import { decimals, digits, unit } from "./numbers.ts";
import { firstFrom, type Series } from "./series.ts";
import type { Words } from "./strings/words.ts";
import { thin } from "./thin.ts";
import { inZone, moment } from "./time.ts";

const HEIGHT = 300;
const HEIGHT_NARROW = 240;
const NARROW = 560;

export interface Drawn {
  channel: Channel;
  label: string;
  zone: string | null;
  words: Words;
}

interface Ink {
  line: string;
  fill: string;
  text: string;
  grid: string;
  gap: string;
  suspect: string;
  fail: string;
}

/** The inks of the style sheet, so that dark mode has one place. */
function inks(host: Element): Ink {
  const style = getComputedStyle(host);
  const ink = (name: string) => style.getPropertyValue(`--${name}`).trim();
  return {
    line: ink("accent"),
    fill: ink("accent-wash"),
    text: ink("ink-soft"),
    grid: ink("rule"),
    gap: ink("gap"),
    suspect: ink("suspect"),
    fail: ink("fail"),
  };
}

/** From zero when the values live near it, else around them: a course of 1,013 hPa from zero would be a flat line. */
function scale(low: number | null, high: number | null): [number, number] {
  if (low === null || high === null) return [0, 1];
  if (low >= 0 && low < high / 2) return [0, high * 1.08 || 1];
  const margin = (high - low) * 0.12 || Math.abs(high) * 0.02 || 1;
  return [low - margin, high + margin];
}

export class Chart {
  readonly element: HTMLElement;
  private readonly plate = element("div", { class: "plate", tabindex: 0, role: "img" });
  private readonly readout = element("p", { class: "readout" });
  private readonly drawn: Drawn;
  private readonly resized = new ResizeObserver(() => this.resize());
  private readonly dark = matchMedia("(prefers-color-scheme: dark)");
  private plot: uPlot | null = null;
  private ink: Ink | null = null;
  private series: Series = { times: [], values: [], flags: [] };
  private gaps: Gap[] = [];
  private range: [number, number] = [0, 1];

  constructor(drawn: Drawn) {
    this.drawn = drawn;
    this.plate.setAttribute("aria-label", drawn.label);
    this.element = element("div", { class: "chart", "data-chart": drawn.channel.parameter }, this.readout, this.plate);
    this.plate.addEventListener("keydown", (event) => this.key(event));
    this.dark.addEventListener("change", this.recolour);
    this.resized.observe(this.plate);
  }

  close(): void {
    this.resized.disconnect();
    this.dark.removeEventListener("change", this.recolour);
    this.plot?.destroy();
  }

  /** Draws what lies in [from, to] [Unix ms]. The attributes tell what was handed to the canvas, which nobody can read. */
  draw(series: Series, from: number, to: number): void {
    const longest = longestSpacing(series.times);
    this.series = series;
    this.gaps = gaps(series, longest);
    this.range = [from, to];
    const width = this.plate.clientWidth;
    if (width === 0) return;
    const points = thin(line(series, longest), from, to, width);
    const { dataset } = this.element;
    dataset.readings = String(series.times.length);
    dataset.points = String(points.values.filter((value) => value !== null).length);
    dataset.breaks = String(points.values.filter((value) => value === null).length);
    dataset.gaps = String(this.gaps.length);
    dataset.last = String(series.times.at(-1) ?? "");
    this.plot ??= this.made(width);
    this.plot.setData([points.times, points.values], true);
    this.read(this.plot);
  }

  get gapCount(): number {
    return this.gaps.length;
  }

  private readonly recolour = (): void => {
    this.plot?.destroy();
    this.plot = null;
    this.draw(this.series, ...this.range);
  };

  private resize(): void {
    const width = this.plate.clientWidth;
    if (width === 0) return;
    if (this.plot !== null && this.plot.width !== width) this.plot.setSize({ width, height: this.height(width) });
    this.draw(this.series, ...this.range);
  }

  private height(width: number): number {
    return width < NARROW ? HEIGHT_NARROW : HEIGHT;
  }

  private made(width: number): uPlot {
    const ink = inks(this.plate);
    this.ink = ink;
    const { zone } = this.drawn;
    const options: uPlot.Options = {
      width,
      height: this.height(width),
      ms: 1,
      tzDate: (time) => uPlot.tzDate(new Date(time), zone ?? "UTC"),
      legend: { show: false },
      padding: [12, 8, 0, 0],
      cursor: { drag: { x: false, y: false }, y: false, points: { size: 9, width: 2, fill: ink.line } },
      scales: { x: { time: true, range: () => this.range }, y: { range: (_plot, low, high) => scale(low, high) } },
      series: [
        {},
        { stroke: ink.line, width: 1.5, fill: ink.fill, points: { show: true, size: 4, fill: ink.line, filter: alone } },
      ],
      axes: this.axes(ink),
      hooks: {
        drawClear: [(plot) => this.shade(plot)],
        draw: [(plot) => this.mark(plot)],
        setCursor: [(plot) => this.read(plot)],
      },
    };
    return new uPlot(options, [[], []], this.plate);
  }

  private axes(ink: Ink): uPlot.Axis[] {
    const { words, zone } = this.drawn;
    const font = "12px system-ui, sans-serif";
    const clock = inZone(zone, words.locale, { hour: "2-digit", minute: "2-digit" });
    const day = inZone(zone, words.locale, { day: "numeric", month: "short" });
    const time = (split: number) => {
      const text = clock.format(split);
      return /^0?0[:h ]0?0/.test(text) ? day.format(split) : text;
    };
    const least = (increment: number) => Math.min(decimals(increment), 3);
    const common = { stroke: ink.text, font, ticks: { show: false }, border: { show: false } };
    return [
      { ...common, grid: { show: false }, space: 64, values: (_plot, splits) => splits.map(time) },
      {
        ...common,
        grid: { stroke: ink.grid, width: 1 },
        size: (_plot, labels) => 14 + 7 * Math.max(2, ...(labels ?? []).map((label) => String(label).length)),
        values: (_plot, splits, _axis, _space, increment) =>
          splits.map((split) => digits(round(split, least(increment)), null, words)),
      },
    ];
  }

  /** Gaps as a quiet ground, under everything else. */
  private shade(plot: uPlot): void {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.fillStyle = this.ink?.gap ?? "";
    for (const gap of this.gaps) {
      const left = Math.max(plot.valToPos(gap.from, "x", true), bbox.left);
      const right = Math.min(plot.valToPos(gap.to, "x", true), bbox.left + bbox.width);
      if (right > left) ctx.fillRect(left, bbox.top, right - left, bbox.height);
    }
    ctx.restore();
  }

  /**
   * A triangle at each suspect value, a cross at each failed one, which may lie far outside: then at the edge. One of a
   * kind per pixel.
   */
  private mark(plot: uPlot): void {
    const { ctx, bbox } = plot;
    const size = 4 * devicePixelRatio;
    let taken = "";
    ctx.save();
    ctx.lineWidth = 1.75 * devicePixelRatio;
    for (let i = firstFrom(this.series.times, this.range[0]); i < this.series.times.length; i += 1) {
      const flag = this.series.flags[i];
      const value = this.series.values[i] ?? null;
      if (value === null || (flag !== 3 && flag !== 4)) continue;
      const x = Math.round(plot.valToPos(this.series.times[i] as number, "x", true));
      const y = Math.min(Math.max(plot.valToPos(value, "y", true), bbox.top + size), bbox.top + bbox.height - size);
      if (taken === `${x} ${flag}`) continue;
      taken = `${x} ${flag}`;
      ctx.strokeStyle = (flag === 3 ? this.ink?.suspect : this.ink?.fail) ?? "";
      ctx.stroke(flag === 3 ? triangle(x, y, size) : cross(x, y, size));
    }
    ctx.restore();
  }

  /** The value under the cursor, or else the last one, in words. */
  private read(plot: uPlot): void {
    const { words, zone, channel } = this.drawn;
    const time = plot.data[0][plot.cursor.idx ?? -1] ?? this.series.times.at(-1);
    if (time === undefined) return setText(this.readout, "");
    const at = Math.min(firstFrom(this.series.times, time), this.series.times.length - 1);
    const value = this.series.values[at] ?? null;
    const flag = this.series.flags[at] ?? 9;
    const held = value === null ? "" : `${digits(value, channel.resolution, words)} ${unit(channel.unit)}`;
    const parts = [moment(this.series.times[at] ?? time, zone, words), held, flag === 1 || flag === 2 ? "" : words.flags[flag]];
    setText(this.readout, parts.filter(Boolean).join(" · "));
  }

  /** Left and right move the cursor, so that a chart can be read without a mouse. */
  private key(event: KeyboardEvent): void {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const plot = this.plot;
    if (step === undefined || plot === null || plot.data[0].length === 0) return;
    event.preventDefault();
    const last = plot.data[0].length - 1;
    const index = Math.min(Math.max((plot.cursor.idx ?? last + (step < 0 ? 1 : 0)) + step, 0), last);
    const left = plot.valToPos(plot.data[0][index] as number, "x");
    plot.setCursor({ left, top: plot.valToPos(plot.data[1]?.[index] ?? 0, "y") });
  }
}

/** Indices of points with no neighbour to draw a line to: without a dot they would be invisible. */
function alone(plot: uPlot, seriesIndex: number): number[] {
  const values = plot.data[seriesIndex] ?? [];
  const found: number[] = [];
  for (let i = 0; i < values.length; i += 1) {
    if (values[i] != null && values[i - 1] == null && values[i + 1] == null) found.push(i);
  }
  return found;
}

const round = (value: number, places: number): number => Number(value.toFixed(places));

function triangle(x: number, y: number, size: number): Path2D {
  const path = new Path2D();
  path.moveTo(x, y - size);
  path.lineTo(x + size, y + size * 0.8);
  path.lineTo(x - size, y + size * 0.8);
  path.closePath();
  return path;
}

function cross(x: number, y: number, size: number): Path2D {
  const path = new Path2D();
  path.moveTo(x - size, y - size);
  path.lineTo(x + size, y + size);
  path.moveTo(x + size, y - size);
  path.lineTo(x - size, y + size);
  return path;
}
