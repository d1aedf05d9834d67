// English.
import type { Words } from "./words.ts";

export const en: Words = {
  tag: "en",
  locale: "en-GB",
  tagline: "Air quality, as it is measured",
  skipToContent: "Skip to content",
  navigation: "Main",
  language: "Language",

  stations: "Stations",
  about: "About",
  signIn: "Sign in",
  allStations: "All stations",
  summary: (stations, reporting) =>
    `${stations} ${stations === 1 ? "station" : "stations"}, ${reporting} with values from the last hour`,
  noStations: "No stations yet",
  noStationsHint:
    "A station appears here with the first reading of its gateway. Enrol one on the hub: harmattan-hub gateway enrol NAME",
  noValues: "no values yet",
  nothingYet: "This station has sent nothing yet.",
  moreValues: (count) => (count === 1 ? "1 more value" : `${count} more values`),
  latestValues: "Latest values",

  value: "Value",
  parameter: "Parameter",
  flag: "Quality",
  measuredAt: "Measured",
  never: "never",
  now: "now",
  internal: "inside the housing",
  averagedOver: (span) => `mean of ${span}`,
  flags: { 1: "good", 2: "not evaluated", 3: "suspect", 4: "fail", 9: "missing" },
  flagMeanings: {
    1: "Passed every test that was applied.",
    2: "No test was applied.",
    3: "Unusual: look before you use it.",
    4: "Failed a test: do not use it. The raw value is still shown.",
    9: "The sensor gave no value.",
  },
  parameters: {
    pm1_0: "PM1",
    pm2_5: "PM2.5",
    pm4_0: "PM4",
    pm10: "PM10",
    pm1_0_cf1: "PM1 (CF=1)",
    pm2_5_cf1: "PM2.5 (CF=1)",
    pm10_cf1: "PM10 (CF=1)",
    pm2_5_compensated: "PM2.5, compensated by the maker",
    pm2_5_corrected: "PM2.5, corrected",
    n_gt_0_3um: "Particles > 0.3 µm",
    n_gt_0_5um: "Particles > 0.5 µm",
    n_gt_1_0um: "Particles > 1 µm",
    n_gt_2_5um: "Particles > 2.5 µm",
    n_gt_5_0um: "Particles > 5 µm",
    n_gt_10um: "Particles > 10 µm",
    co2: "CO₂",
    no2: "NO₂",
    o3: "O₃",
    so2: "SO₂",
    co: "CO",
    hcho: "Formaldehyde",
    voc_index: "VOC index",
    voc_raw: "VOC raw signal",
    nox_index: "NOx index",
    nox_raw: "NOx raw signal",
    temperature: "Temperature",
    temperature_compensated: "Temperature, compensated",
    temperature_internal: "Temperature, housing",
    relative_humidity: "Relative humidity",
    relative_humidity_compensated: "Relative humidity, compensated",
    relative_humidity_internal: "Relative humidity, housing",
    pressure: "Air pressure",
    wind_speed: "Wind speed",
    wind_direction: "Wind direction",
    voltage: "Voltage",
    current: "Current",
    power_active: "Active power",
    energy_total: "Energy, total",
    energy_import: "Energy, imported",
    energy_export: "Energy, exported",
    frequency: "Frequency",
    power_factor: "Power factor",
    battery_voltage: "Battery voltage",
    rssi: "Radio signal",
  },

  categories: {
    good: "Good",
    moderate: "Moderate",
    unhealthy_for_sensitive_groups: "Unhealthy for sensitive groups",
    unhealthy: "Unhealthy",
    very_unhealthy: "Very unhealthy",
    hazardous: "Hazardous",
  },
  notEnoughData: "not enough data",
  nowcastOf: "Hourly PM2.5 NowCast, US EPA",
  aqiNumber: "AQI",
  completeness: (percent) => `${percent} of its hours are there`,

  coordinates: "Coordinates",
  altitude: "Altitude",
  timezone: "Time zone",
  profile: "Profile",
  firmware: "Firmware",
  serial: "Serial number",
  caveats: "To keep in mind",

  chart: "Course",
  range: "Range",
  hours: (count) => (count === 168 ? "7 days" : count === 1 ? "1 hour" : `${count} hours`),
  loading: (percent) => `Loading readings: ${percent}`,
  chartLabel: (parameter, sensor) => `${parameter} of ${sensor} over time`,
  count: (count, written) => `${written} ${count === 1 ? "reading" : "readings"}`,
  lowest: "lowest",
  median: "median",
  highest: "highest",
  gaps: (count, written) => `${written} ${count === 1 ? "gap" : "gaps"}`,
  suspects: (_count, written) => `${written} suspect`,
  fails: (_count, written) => `${written} failed`,
  nothingInRange: "No readings in this range.",

  live: "Live",
  connecting: "Connecting",
  reconnecting: "Reconnecting",
  paused: "Paused",
  offline: "Offline",
  liveExplained: {
    connecting: "Asking the hub for live values.",
    live: "New values appear by themselves.",
    reconnecting: "The hub does not answer. The last values stay, with their age; the page tries again by itself.",
    paused: "Live values pause while the page is hidden.",
    offline: "This device has no network. The last values stay, with their age.",
  },

  notFound: "Not found",
  notFoundHint: "There is nothing at this address, or it is not public. All public stations are on the first page.",
  tryAgain: "Try again",
  problemTitle: (status) =>
    status === 0
      ? "The hub was not reached"
      : status === 404
        ? "Not found"
        : status === 429
          ? "Too many requests"
          : "The hub could not answer",
  problemHint: (status) =>
    status === 0
      ? "Check the network of this device and that the hub runs. The page tries again by itself."
      : status === 404
        ? "It may have been removed, or it is not public. Go to the list of stations."
        : status === 429
          ? "Wait a minute, then try again."
          : status >= 500
            ? "Usually this passes. If it stays, whoever runs the hub finds the reason at /ready."
            : "Reload the page. If it stays, tell whoever runs the hub.",
  keptValues: "The values below are the last that were received.",
};
