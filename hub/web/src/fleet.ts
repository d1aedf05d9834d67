// The hub's snapshot and live samples in; what is known of each station out, newest values winning. No I/O here.
import type { LiveSample, Sensor, Station, Values } from "./api.ts";

const newer = (a: Values | null, b: Values | null): Values | null => {
  if (a === null || b === null) return a ?? b;
  return Date.parse(a.time) > Date.parse(b.time) ? a : b;
};

/** The later of two RFC 3339 times. */
const later = (a: string | null, b: string | null): string | null => {
  if (a === null || b === null) return a ?? b;
  return Date.parse(a) > Date.parse(b) ? a : b;
};

export class Fleet {
  private readonly known = new Map<number, Station>();

  get stations(): Station[] {
    return [...this.known.values()].sort((a, b) => a.name.localeCompare(b.name) || a.id - b.id);
  }

  station(id: number): Station | undefined {
    return this.known.get(id);
  }

  /**
   * Takes a whole snapshot; stations it does not name are gone. A live sample that overtook it stays, unless `trusted`
   * says that nothing held counts.
   */
  take(stations: readonly Station[], trusted: boolean): void {
    const held = new Map(this.known);
    this.known.clear();
    for (const station of stations) this.known.set(station.id, trusted ? station : merged(held.get(station.id), station));
  }

  /** Takes one station as the hub tells it now. */
  takeOne(station: Station): void {
    this.known.set(station.id, merged(this.known.get(station.id), station));
  }

  forget(id: number): void {
    this.known.delete(id);
  }

  /** The station that a sample changed; null when it changed none; undefined when its sensor is not known yet. */
  apply(sample: LiveSample): Station | null | undefined {
    const station = sample.station === null ? undefined : this.known.get(sample.station);
    const sensor = station?.sensors.find((one) => one.id === sample.sensor);
    if (station === undefined || sensor === undefined) return sample.station === null ? null : undefined;
    // A backlog that arrives late is history, not the latest value.
    if (sensor.latest !== null && Date.parse(sensor.latest.time) > Date.parse(sample.time)) return null;
    const { time, values, units, flags } = sample;
    const told: Sensor = { ...sensor, latest: { time, values, units, flags }, last_seen: later(sensor.last_seen, time) };
    const changed = {
      ...station,
      last_seen: later(station.last_seen, time),
      sensors: station.sensors.map((one) => (one.id === told.id ? told : one)),
    };
    this.known.set(changed.id, changed);
    return changed;
  }
}

function merged(held: Station | undefined, told: Station): Station {
  if (held === undefined) return told;
  const sensors = told.sensors.map((sensor) => {
    const before = held.sensors.find((one) => one.id === sensor.id);
    return before === undefined
      ? sensor
      : { ...sensor, latest: newer(before.latest, sensor.latest), last_seen: later(before.last_seen, sensor.last_seen) };
  });
  return { ...told, sensors, last_seen: later(held.last_seen, told.last_seen) };
}
