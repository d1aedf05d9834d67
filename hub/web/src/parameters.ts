// Parameters of a sensor in; their order, titles and the one that stands for a station out. No I/O here.
import type { Channel, Flag, Sensor, Station } from "./api.ts";
import type { Words } from "./strings/words.ts";

/** What people ask for first. A parameter that is not here comes after these, as the sensor lists it. */
const FIRST = [
  "pm2_5",
  "pm10",
  "pm1_0",
  "pm4_0",
  "co2",
  "no2",
  "o3",
  "so2",
  "co",
  "hcho",
  "voc_index",
  "nox_index",
  "temperature",
  "relative_humidity",
  "pressure",
  "wind_speed",
  "wind_direction",
  "voltage",
  "current",
  "power_active",
  "energy_total",
];

/** One parameter of one sensor, as it is shown. */
export interface Shown {
  sensor: Sensor;
  channel: Channel;
  time: string | null;
  value: number | null;
  flag: Flag;
}

const rank = (parameter: string): number => {
  const at = FIRST.indexOf(parameter);
  return at < 0 ? FIRST.length : at;
};

export const isFirst = (parameter: string): boolean => FIRST.includes(parameter);

/** `PM2.5`; a parameter without a title keeps its name. */
export const title = (parameter: string, words: Words): string => words.parameters[parameter] ?? parameter.replaceAll("_", " ");

/** The sensor's channels, also those that only its latest values name. */
export function channels(sensor: Sensor): Channel[] {
  const known = [...sensor.channels];
  for (const parameter of Object.keys(sensor.latest?.values ?? {})) {
    if (known.some((channel) => channel.parameter === parameter)) continue;
    const unit = sensor.latest?.units[parameter] ?? "";
    known.push({ parameter, unit, place: "ambient", period_s: 0, resolution: null });
  }
  return known.sort((a, b) => rank(a.parameter) - rank(b.parameter));
}

/** Everything a sensor measures, with its latest value; a channel without one is missing. */
export function shown(sensor: Sensor): Shown[] {
  const { latest } = sensor;
  return channels(sensor).map((channel) => {
    const value = latest?.values[channel.parameter] ?? null;
    const flag = latest?.flags[channel.parameter] ?? (value === null ? 9 : 2);
    return { sensor, channel, time: latest?.time ?? null, value, flag };
  });
}

/**
 * The value that stands for a station: of the first parameter of FIRST that it measures in ambient air, the newest
 * that is there.
 */
export function headline(station: Station): Shown | null {
  const candidates = station.sensors
    .flatMap(shown)
    .filter((one) => one.channel.place === "ambient" && isFirst(one.channel.parameter));
  const worth = (one: Shown) => (one.value === null ? -1 : Date.parse(one.time ?? ""));
  candidates.sort((a, b) => rank(a.channel.parameter) - rank(b.channel.parameter) || worth(b) - worth(a));
  return candidates[0] ?? null;
}

/** When a station last had a value [RFC 3339]. */
export function newest(station: Station): string | null {
  const times = station.sensors.flatMap((sensor) => (sensor.latest === null ? [] : [sensor.latest.time]));
  return times.sort((a, b) => Date.parse(b) - Date.parse(a))[0] ?? station.last_seen;
}
