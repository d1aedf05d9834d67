// Fleet -> the list of stations: one card each with headline, category, age and each sensor's latest values.
import { ageOf, SILENT_AFTER_MS } from "./ages.ts";
import type { Sensor, Station } from "./api.ts";
import { category } from "./category.ts";
import { element, fill, setText } from "./dom.ts";
import { headline, isFirst, newest, type Shown, shown, title } from "./parameters.ts";
import { now } from "./time.ts";
import { isTrouble, number, quality, term, unitOf } from "./values.ts";
import type { Page, View } from "./view.ts";

/**
 * More than this many values of one sensor are noise on a wall; the rest is one click away. Troubled ones are always
 * in sight.
 */
const IN_SIGHT = 6;

/** The sensor's part of its gateway's name: `demo-01/pm` is `pm`. */
const shortName = (sensor: Sensor): string => sensor.name.slice(sensor.name.indexOf("/") + 1);

class SensorPart {
  readonly element = element("section", { class: "sensor" });
  private readonly head = element("h3");
  private readonly terms = element("dl");
  private readonly rest = element("dl");
  private readonly summary = element("summary");
  private readonly more = element("details", {}, this.summary, this.rest);
  private readonly page: Page;

  constructor(page: Page) {
    this.page = page;
    this.element.append(this.head, this.terms, this.more);
  }

  update(sensor: Sensor, station: Station, top: Shown | null): void {
    const { words } = this.page;
    const zone = station.timezone;
    // The age of a station's only sensor stands at the top of its card already.
    const alone = station.sensors.length === 1;
    const all = shown(sensor).filter((one) => !(top?.sensor.id === sensor.id && top.channel.parameter === one.channel.parameter));
    const first = all.filter((one) => isFirst(one.channel.parameter)).slice(0, IN_SIGHT);
    const inSight = all.filter((one) => first.includes(one) || isTrouble(one.flag));
    const hidden = all.filter((one) => !inSight.includes(one));
    const model = sensor.model ?? sensor.profile;
    const time = !alone && sensor.latest && ageOf(sensor.latest.time, zone, words);
    this.head.replaceChildren(
      element("span", {}, shortName(sensor)),
      element("small", {}, [sensor.maker, model].filter(Boolean).join(" ")),
      time || "",
    );
    this.terms.replaceChildren(...inSight.map((one) => term(one, zone, words)));
    this.rest.replaceChildren(...hidden.map((one) => term(one, zone, words)));
    this.terms.hidden = inSight.length === 0;
    this.more.hidden = hidden.length === 0;
    setText(this.summary, words.moreValues(hidden.length));
  }
}

/** Built once and kept: only its texts change, so that focus and open details stay where they are. */
class Card {
  readonly element: HTMLElement;
  private readonly link = element("a");
  private readonly age = element("p", { class: "age" });
  private readonly top = element("p", { class: "headline" });
  private readonly index = element("div");
  private readonly sensors = element("div", { class: "sensors" });
  private readonly parts = new Map<number, SensorPart>();
  private readonly page: Page;

  constructor(page: Page) {
    this.page = page;
    const head = element("header", { "data-aging": true }, element("h2", {}, this.link), this.age);
    this.element = element("article", { class: "card" }, head, this.top, this.index, this.sensors);
  }

  update(station: Station): void {
    const { words } = this.page;
    const zone = station.timezone;
    const top = headline(station);
    const time = top?.time ?? newest(station);
    this.element.dataset.station = station.name;
    this.link.href = `/stations/${station.id}`;
    setText(this.link, station.name);
    this.age.replaceChildren(time === null ? words.noValues : ageOf(time, zone, words));
    this.element.querySelector("header")?.classList.toggle("silent", time !== null && now() - Date.parse(time) > SILENT_AFTER_MS);
    if (top === null) this.top.replaceChildren(words.noValues);
    else this.top.replaceChildren(...this.headline(top, zone));
    this.index.replaceChildren(category(station.index, words));
    fill(
      this.sensors,
      station.sensors.map((sensor) => this.part(sensor, station, top)),
    );
  }

  private headline(top: Shown, zone: string | null): Node[] {
    const { words } = this.page;
    const label = element("span", { class: "label" }, title(top.channel.parameter, words));
    const figure = element("span", { class: "figure" }, number(top, zone, words), " ", unitOf(top) ?? "");
    return isTrouble(top.flag) ? [label, figure, quality(top.flag, words)] : [label, figure];
  }

  private part(sensor: Sensor, station: Station, top: Shown | null): HTMLElement {
    let part = this.parts.get(sensor.id);
    if (part === undefined) {
      part = new SensorPart(this.page);
      this.parts.set(sensor.id, part);
    }
    part.update(sensor, station, top);
    return part.element;
  }
}

export function stationsView(page: Page): View {
  const { words, fleet } = page;
  const summary = element("p", { class: "summary" });
  const list = element("div", { class: "cards" });
  const cards = new Map<number, Card>();

  const update = (station: Station) => {
    const card = cards.get(station.id) ?? new Card(page);
    cards.set(station.id, card);
    card.update(station);
    return card.element;
  };
  const all = () => {
    const { stations } = fleet;
    const reporting = stations.filter((one) => now() - Date.parse(newest(one) ?? "") < SILENT_AFTER_MS).length;
    setText(summary, page.loaded() ? words.summary(stations.length, reporting) : `${words.connecting} …`);
    const none = element("p", { class: "none" }, element("b", {}, words.noStations), element("br"), words.noStationsHint);
    const wanted = stations.length === 0 && page.loaded() ? [none] : stations.map(update);
    for (const id of cards.keys()) if (fleet.station(id) === undefined) cards.delete(id);
    fill(list, wanted);
  };
  all();
  return {
    element: element(
      "div",
      { class: "list" },
      element("div", { class: "lead" }, element("h1", { tabindex: -1 }, words.stations), summary),
      list,
    ),
    title: () => words.stations,
    changed: (station) => (station === null ? all() : void update(station)),
  };
}
