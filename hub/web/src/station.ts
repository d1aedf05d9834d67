// One station -> its view: place, category, a course of the parameter asked for, and a table of each sensor's latest values.
import { ageOf } from "./ages.ts";
import { type Problem, type Sensor, type Station, stationById } from "./api.ts";
import { category } from "./category.ts";
import { Course } from "./course.ts";
import { element, fill } from "./dom.ts";
import { digits } from "./numbers.ts";
import { channels, newest, shown, title } from "./parameters.ts";
import { asProblem, problem } from "./problem.ts";
import { about, number, quality, unitOf } from "./values.ts";
import type { Page, View } from "./view.ts";

const HOURS = [1, 6, 24, 168];
const LONGEST_HOURS = 168;

class StationView implements View {
  readonly element = element("div", { class: "station" });
  private readonly page: Page;
  private readonly id: number;
  private readonly trouble = element("div");
  private readonly heading = element("h1", { tabindex: -1 });
  private readonly lead = element("div", { class: "lead" });
  private readonly controls = element("div", { class: "controls" });
  private readonly figures = element("div", { class: "figures" });
  private readonly sensors = element("section", { class: "tables" });
  private courses: Course[] = [];
  private drawn = "";
  private search: URLSearchParams;

  constructor(page: Page, id: number, search: URLSearchParams) {
    this.page = page;
    this.id = id;
    this.search = search;
    const back = element("p", { class: "back" }, element("a", { href: "/" }, `← ${page.words.allStations}`));
    const course = element("section", { "aria-label": page.words.chart }, this.controls, this.figures);
    this.element.append(back, this.heading, this.lead, this.trouble, course, this.sensors);
    this.controls.addEventListener("change", (event) => this.choose(event));
    this.show();
    void this.fetch();
  }

  title(): string {
    return this.page.fleet.station(this.id)?.name ?? (this.heading.textContent || this.page.words.stations);
  }

  asked(search: URLSearchParams): void {
    this.search = search;
    this.show();
  }

  changed(station: Station | null): void {
    if (station === null || station.id === this.id) this.show();
  }

  sample(sample: Parameters<Course["sample"]>[0]): void {
    for (const course of this.courses) course.sample(sample);
  }

  missed(whole: boolean): void {
    for (const course of this.courses) course.missed(whole);
    void this.fetch();
  }

  close(): void {
    for (const course of this.courses) course.close();
    this.courses = [];
  }

  private async fetch(): Promise<void> {
    try {
      this.page.fleet.takeOne(await stationById(this.id));
      this.trouble.replaceChildren();
    } catch (error) {
      this.complain(asProblem(error));
    }
    this.show();
    this.page.retitle();
  }

  /** A station that is gone is a view of its own; any other trouble leaves the last values in sight. */
  private complain(said: Problem): void {
    const { words, fleet } = this.page;
    if (said.status === 404) {
      fleet.forget(this.id);
      this.heading.textContent = words.notFound;
      this.trouble.replaceChildren(element("p", { class: "summary", "data-problem": 404 }, words.problemHint(404)));
      return;
    }
    const again = () => void this.fetch();
    this.trouble.replaceChildren(problem(said, words, fleet.station(this.id) !== undefined, again));
  }

  private show(): void {
    const station = this.page.fleet.station(this.id);
    if (station === undefined) {
      if (this.heading.textContent === "") this.heading.textContent = `${this.page.words.connecting} …`;
      this.close();
      for (const part of [this.lead, this.controls, this.figures, this.sensors]) part.replaceChildren();
      this.drawn = "";
      return;
    }
    this.element.dataset.station = station.name;
    this.heading.textContent = station.name;
    this.lead.replaceChildren(category(station.index, this.page.words), this.place(station));
    this.showCourse(station);
    this.sensors.replaceChildren(
      element("h2", {}, this.page.words.latestValues),
      station.sensors.length === 0 ? element("p", {}, this.page.words.nothingYet) : "",
      ...station.sensors.map((sensor) => this.table(sensor, station.timezone)),
    );
  }

  private place(station: Station): HTMLElement {
    const { words } = this.page;
    const degrees = (value: number) => digits(Number(value.toFixed(4)), null, words);
    const { latitude, longitude, altitude_m } = station;
    const where = latitude === null || longitude === null ? null : `${degrees(latitude)}°, ${degrees(longitude)}°`;
    const high = altitude_m === null ? null : `${digits(Math.round(altitude_m), null, words)} m`;
    const time = newest(station);
    const seen = time === null ? words.never : ageOf(time, station.timezone, words);
    const list = element("dl", { class: "place" });
    const facts: [string, string | Node | null][] = [
      [words.coordinates, where],
      [words.altitude, high],
      [words.timezone, station.timezone],
      [words.measuredAt, seen],
    ];
    for (const [name, value] of facts)
      if (value !== null) list.append(element("div", {}, element("dt", {}, name), element("dd", {}, value)));
    return list;
  }

  /** What the address asks for, or the first that there is. */
  private wanted(station: Station): { parameter: string; hours: number; all: string[] } {
    const all = [...new Set(station.sensors.flatMap((sensor) => channels(sensor).map((channel) => channel.parameter)))];
    const asked = this.search.get("parameter") ?? "";
    const first = all.includes("pm2_5") ? "pm2_5" : (all[0] ?? "");
    const hours = Number(this.search.get("hours") ?? 24);
    return { parameter: all.includes(asked) ? asked : first, hours: hours > 0 && hours <= LONGEST_HOURS ? hours : 24, all };
  }

  /**
   * Rebuilds controls and charts only when something else is to be drawn: a chart that reloads on each sample would
   * never finish.
   */
  private showCourse(station: Station): void {
    const { parameter, hours, all } = this.wanted(station);
    const measuring = station.sensors.filter((sensor) => channels(sensor).some((channel) => channel.parameter === parameter));
    const key = [parameter, hours, all.join(","), measuring.map((sensor) => sensor.id).join(",")].join(" ");
    if (key === this.drawn) return;
    this.drawn = key;
    this.close();
    this.showControls(parameter, hours, all);
    this.courses = measuring.flatMap((sensor) => {
      const channel = channels(sensor).find((one) => one.parameter === parameter);
      return channel ? [new Course(this.page, { sensor, channel, hours, zone: station.timezone })] : [];
    });
    fill(
      this.figures,
      this.courses.map((course) => course.element),
    );
  }

  private showControls(parameter: string, hours: number, all: string[]): void {
    const { words } = this.page;
    const held = document.activeElement instanceof HTMLElement ? document.activeElement.id : "";
    const select = element("select", { id: "parameter" });
    for (const one of all) select.append(element("option", { value: one, selected: one === parameter }, title(one, words)));
    const ranges = element("fieldset", { class: "ranges" }, element("legend", { class: "aside" }, words.range));
    for (const one of [...new Set([...HOURS, hours])].sort((a, b) => a - b)) {
      const radio = element("input", { type: "radio", name: "hours", id: `hours-${one}`, value: one, checked: one === hours });
      ranges.append(radio, element("label", { for: `hours-${one}` }, words.hours(one)));
    }
    this.controls.replaceChildren(element("label", { class: "aside", for: "parameter" }, words.parameter), select, ranges);
    if (held !== "") this.controls.querySelector<HTMLElement>(`#${held}`)?.focus();
  }

  private choose(event: Event): void {
    const target = event.target as HTMLInputElement | HTMLSelectElement;
    const { parameter, hours } = this.wanted(this.page.fleet.station(this.id) as Station);
    const chosen =
      target.name === "hours" ? { parameter, hours: target.value } : { parameter: target.value, hours: String(hours) };
    this.page.go(`/stations/${this.id}?${new URLSearchParams(chosen).toString()}`);
  }

  private table(sensor: Sensor, zone: string | null): HTMLElement {
    const { words } = this.page;
    const body = element("tbody");
    for (const one of shown(sensor)) {
      const note = about(one, words);
      const name = element(
        "th",
        { scope: "row" },
        title(one.channel.parameter, words),
        note !== "" && element("small", {}, ` ${note}`),
      );
      body.append(
        element(
          "tr",
          {},
          name,
          element("td", { class: "value" }, number(one, zone, words), " ", unitOf(one)),
          element("td", {}, quality(one.flag, words)),
        ),
      );
    }
    const headings = [words.parameter, words.value, words.flag].map((text) => element("th", { scope: "col" }, text));
    const table = element("table", {}, element("thead", {}, element("tr", {}, ...headings)), body);
    return element("section", { class: "sensor" }, this.sensorHead(sensor, zone), table, this.caveats(sensor));
  }

  private sensorHead(sensor: Sensor, zone: string | null): HTMLElement {
    const { words } = this.page;
    const model = [sensor.maker, sensor.model].filter(Boolean).join(" ");
    const facts: [string, string | null][] = [
      [words.profile, sensor.profile],
      [words.firmware, sensor.firmware],
      [words.serial, sensor.serial],
    ];
    const known = facts.filter(([, value]) => value !== null && value !== "").map(([name, value]) => `${name} ${value ?? ""}`);
    const head = element(
      "header",
      {},
      element("h3", {}, element("span", {}, sensor.name), sensor.latest && ageOf(sensor.latest.time, zone, words)),
    );
    head.append(element("p", {}, [model, ...known].filter(Boolean).join(" · ")));
    return head;
  }

  private caveats(sensor: Sensor): HTMLElement | null {
    if (sensor.caveats.length === 0) return null;
    const list = element("ul", { class: "caveats", "aria-label": this.page.words.caveats });
    for (const caveat of sensor.caveats) list.append(element("li", {}, caveat));
    return list;
  }
}

/** `/stations/12`; a number that is none leads nowhere. */
export function stationView(page: Page, id: number, search: URLSearchParams): View {
  return new StationView(page, id, search);
}
