// Values as the API gives them in; digits and units for people out. No digit is invented and none that was measured is dropped.
import type { Words } from "./strings/words.ts";

const UNITS: Record<string, string> = {
  "ug/m3": "µg/m³",
  "mg/m3": "mg/m³",
  "#/cm3": "/cm³",
  degC: "°C",
  "W/m2": "W/m²",
  deg: "°",
  um: "µm",
  kOhm: "kΩ",
};

/** The unit as it is printed; pure numbers have none. */
export const unit = (given: string): string => UNITS[given] ?? given;

/** How many decimals a resolution has: 0.1 -> 1, 1 -> 0, 0.25 -> 2. */
export function decimals(resolution: number): number {
  for (let digits = 0; digits < 6; digits += 1) {
    const scaled = resolution * 10 ** digits;
    if (Math.abs(scaled - Math.round(scaled)) < 1e-6) return digits;
  }
  return 6;
}

/** `12.0` for 12 at a resolution of 0.1; without a resolution, the digits that came. */
export function digits(value: number, resolution: number | null, words: Words): string {
  const least = resolution ? decimals(resolution) : 0;
  const options = { minimumFractionDigits: least, maximumFractionDigits: Math.max(least, 6) };
  // A minus sign, not a hyphen, so that it neither breaks nor hides.
  return new Intl.NumberFormat(words.locale, options).format(value).replace("-", "−");
}

export const percent = (share: number, words: Words): string =>
  new Intl.NumberFormat(words.locale, { style: "percent", maximumFractionDigits: 0 }).format(share);

export const whole = (count: number, words: Words): string => new Intl.NumberFormat(words.locale).format(count);
