// Every word that the page says, as one type: a language that lacks a word does not compile.
import type { Category, Flag } from "../api.ts";

export interface Words {
  /** Language of the text; `locale` is that of numbers and dates. */
  tag: "en" | "fr";
  locale: string;
  tagline: string;
  skipToContent: string;
  navigation: string;
  language: string;

  stations: string;
  about: string;
  signIn: string;
  allStations: string;
  summary: (stations: number, reporting: number) => string;
  noStations: string;
  noStationsHint: string;
  noValues: string;
  nothingYet: string;
  moreValues: (count: number) => string;
  latestValues: string;

  value: string;
  parameter: string;
  flag: string;
  measuredAt: string;
  never: string;
  now: string;
  internal: string;
  averagedOver: (span: string) => string;
  flags: Record<Flag, string>;
  flagMeanings: Record<Flag, string>;
  parameters: Record<string, string>;

  categories: Record<Category, string>;
  notEnoughData: string;
  nowcastOf: string;
  aqiNumber: string;
  completeness: (percent: string) => string;

  coordinates: string;
  altitude: string;
  timezone: string;
  profile: string;
  firmware: string;
  serial: string;
  caveats: string;

  chart: string;
  range: string;
  hours: (count: number) => string;
  loading: (percent: string) => string;
  chartLabel: (parameter: string, sensor: string) => string;
  /** Counts come as a number and as it is written. */
  count: (count: number, written: string) => string;
  lowest: string;
  median: string;
  highest: string;
  gaps: (count: number, written: string) => string;
  suspects: (count: number, written: string) => string;
  fails: (count: number, written: string) => string;
  nothingInRange: string;

  live: string;
  connecting: string;
  reconnecting: string;
  paused: string;
  offline: string;
  liveExplained: Record<"connecting" | "live" | "reconnecting" | "paused" | "offline", string>;

  notFound: string;
  notFoundHint: string;
  tryAgain: string;
  problemTitle: (status: number) => string;
  problemHint: (status: number) => string;
  keptValues: string;
}
