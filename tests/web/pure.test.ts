// The pure middle of the page: gaps, thinning, series, summary, fleet, numbers and ages, run by Node as they are.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { LiveSample, Sensor, Station } from "../../hub/web/src/api.ts";
import { agent } from "../../hub/web/src/desk/agent.ts";
import { clock, type Gateway, sorted } from "../../hub/web/src/desk/fleet.ts";
import { may, offered } from "../../hub/web/src/desk/may.ts";
import type { Account } from "../../hub/web/src/desk/session.ts";
import { parsed } from "../../hub/web/src/desk/stream.ts";
import { en as deskEn } from "../../hub/web/src/desk/strings/en.ts";
import { fr as deskFr } from "../../hub/web/src/desk/strings/fr.ts";
import { Fleet } from "../../hub/web/src/fleet.ts";
import { gaps, line, longestSpacing } from "../../hub/web/src/gaps.ts";
import { decimals, digits, unit } from "../../hub/web/src/numbers.ts";
import { headline } from "../../hub/web/src/parameters.ts";
import { handed, match } from "../../hub/web/src/router.ts";
import { dropBefore, empty, put, putRows, type Series } from "../../hub/web/src/series.ts";
import { ABOUT } from "../../hub/web/src/strings/about.ts";
import { en } from "../../hub/web/src/strings/en.ts";
import { fr } from "../../hub/web/src/strings/fr.ts";
import { summary } from "../../hub/web/src/summary.ts";
import { thin } from "../../hub/web/src/thin.ts";
import { age } from "../../hub/web/src/time.ts";

const series = (...rows: [number, number | null, (1 | 2 | 3 | 4 | 9)?][]): Series => {
  const made = empty();
  for (const [time, value, flag] of rows) put(made, time, value, flag ?? (value === null ? 9 : 1));
  return made;
};
const gapsOf = (one: Series) => gaps(one, longestSpacing(one.times));
const lineOf = (one: Series) => line(one, longestSpacing(one.times));

test("a spacing of more than three usual ones is a gap and breaks the line", () => {
  const held = series([0, 1], [10, 1], [20, 1], [60, 1], [70, 1]);
  assert.deepEqual(gapsOf(held), [{ from: 20, to: 60 }]);
  assert.deepEqual(lineOf(held).values, [1, 1, 1, null, 1, 1]);
});

test("three usual spacings are no gap", () => {
  assert.deepEqual(gapsOf(series([0, 1], [10, 1], [20, 1], [50, 1], [60, 1])), []);
});

test("missing values are a gap although their rows came in time", () => {
  const held = series([0, 1], [10, null], [20, null], [30, 1]);
  assert.deepEqual(gapsOf(held), [{ from: 0, to: 30 }]);
  assert.deepEqual(lineOf(held).values, [1, null, null, 1]);
});

test("one value or none has no gap", () => {
  assert.deepEqual(gapsOf(series()), []);
  assert.deepEqual(gapsOf(series([0, 1])), []);
});

test("a failed value is no gap and is not part of the line", () => {
  const held = series([0, 1], [10, 6500, 4], [20, 1]);
  assert.deepEqual(gapsOf(held), []);
  assert.deepEqual(lineOf(held).values, [1, null, 1]);
});

test("a revision replaces, a late row goes where its time belongs", () => {
  const held = series([0, 1], [20, 3], [10, 2], [20, 4]);
  assert.deepEqual(held.times, [0, 10, 20]);
  assert.deepEqual(held.values, [1, 2, 4]);
});

test("what is older than the range is dropped", () => {
  const held = series([0, 1], [10, 2], [20, 3]);
  dropBefore(held, 10);
  assert.deepEqual(held.times, [10, 20]);
});

test("rows are read by the names of their fields", () => {
  const held = empty();
  putRows(
    held,
    "pm2_5",
    ["time", "pm2_5", "pm2_5_flag"],
    [
      ["1970-01-01T00:00:01.000Z", 12.3, 3],
      ["1970-01-01T00:00:02.000Z", null, 9],
    ],
  );
  assert.deepEqual(held, { times: [1000, 2000], values: [12.3, null], flags: [3, 9] });
});

test("thinning keeps every peak and trough of 43,200 values on 300 pixels", () => {
  const times = Array.from({ length: 43_200 }, (_, i) => i * 2000);
  const values: (number | null)[] = times.map((_, i) => (i === 20_001 ? 999 : i === 30_001 ? -5 : 10));
  const thinned = thin({ times, values }, 0, 86_400_000, 300);
  assert.ok(thinned.times.length <= 4 * 300);
  assert.equal(thinned.values.filter((value) => value === 999).length, 1);
  assert.equal(thinned.values.filter((value) => value === -5).length, 1);
  assert.deepEqual(
    thinned.times,
    [...thinned.times].sort((a, b) => a - b),
  );
});

test("thinning keeps a gap that is narrower than a pixel", () => {
  const thinned = thin({ times: [0, 1, 2, 3], values: [5, null, null, 5] }, 0, 1000, 10);
  assert.deepEqual(thinned.values, [5, null, 5]);
});

test("a summary counts failed values and leaves them out of the extremes", () => {
  const told = summary(series([0, 1], [1, 2], [2, 4], [3, 6500, 4], [4, 9, 3], [5, null]));
  assert.deepEqual(told, { count: 6, lowest: 1, median: 3, highest: 9, suspect: 1, fail: 1 });
});

const sensor = (id: number, time: string, value: number): Sensor => ({
  id,
  name: `demo-01/pm-${id}`,
  maker: null,
  model: null,
  serial: null,
  profile: null,
  firmware: null,
  station: 1,
  channels: [
    { parameter: "temperature_internal", unit: "degC", place: "internal", period_s: 0, resolution: 0.1 },
    { parameter: "pm10", unit: "ug/m3", place: "ambient", period_s: 0, resolution: 1 },
    { parameter: "pm2_5", unit: "ug/m3", place: "ambient", period_s: 0, resolution: 1 },
  ],
  caveats: [],
  latest: { time, values: { pm2_5: value, pm10: value }, units: { pm2_5: "ug/m3", pm10: "ug/m3" }, flags: { pm2_5: 1, pm10: 1 } },
  last_seen: time,
});
const stationOf = (...sensors: Sensor[]): Station => ({
  id: 1,
  name: "gate",
  latitude: null,
  longitude: null,
  altitude_m: null,
  timezone: null,
  visibility: "public",
  last_seen: null,
  sensors,
  index: null,
});
const sampleOf = (id: number, time: string, value: number): LiveSample => ({
  station: 1,
  sensor: id,
  name: `demo-01/pm-${id}`,
  time,
  values: { pm2_5: value },
  units: { pm2_5: "ug/m3" },
  flags: { pm2_5: 1 },
});

test("a backlog that arrives late does not become the latest value", () => {
  const fleet = new Fleet();
  fleet.take([stationOf(sensor(1, "2026-11-25T00:00:10.000Z", 5))], true);
  assert.equal(fleet.apply(sampleOf(1, "2026-11-25T00:00:00.000Z", 99)), null);
  assert.equal(fleet.station(1)?.sensors[0]?.latest?.values.pm2_5, 5);
  fleet.apply(sampleOf(1, "2026-11-25T00:00:20.000Z", 6));
  assert.equal(fleet.station(1)?.sensors[0]?.latest?.values.pm2_5, 6);
});

test("a snapshot does not undo a live sample that overtook it, unless what is held counts no more", () => {
  const fleet = new Fleet();
  const older = [stationOf(sensor(1, "2026-11-25T00:00:10.000Z", 5))];
  fleet.take(older, true);
  fleet.apply(sampleOf(1, "2026-11-25T00:00:20.000Z", 6));
  fleet.take(older, false);
  assert.equal(fleet.station(1)?.sensors[0]?.latest?.values.pm2_5, 6);
  fleet.take(older, true);
  assert.equal(fleet.station(1)?.sensors[0]?.latest?.values.pm2_5, 5);
});

test("a sample of a sensor that is not known yet asks for a snapshot", () => {
  const fleet = new Fleet();
  assert.equal(fleet.apply(sampleOf(1, "2026-11-25T00:00:20.000Z", 6)), undefined);
});

test("the headline is ambient PM2.5, of the sensor with the newest value", () => {
  const top = headline(stationOf(sensor(1, "2026-11-25T00:00:10.000Z", 5), sensor(2, "2026-11-25T00:00:12.000Z", 7)));
  assert.equal(top?.channel.parameter, "pm2_5");
  assert.equal(top?.sensor.id, 2);
  assert.equal(headline(stationOf()), null);
});

test("digits follow the resolution and never drop what came", () => {
  assert.equal(digits(12, 0.1, en), "12.0");
  assert.equal(digits(12.345, 0.1, en), "12.345");
  assert.equal(digits(0.000123, null, en), "0.000123");
  assert.equal(digits(-98.4, 0.1, en), "−98.4");
  assert.equal(digits(90.1, 0.1, fr), "90,1");
  assert.equal(decimals(0.25), 2);
  assert.equal(unit("ug/m3"), "µg/m³");
});

test("an age is one unit, and a clock that runs ahead is now", () => {
  assert.equal(age(0, 12_900, en), "12 sec ago");
  assert.equal(age(0, 3 * 3_600_000 + 5, en), "3 hr ago");
  assert.equal(age(5_000, 0, en), "now");
  assert.equal(age(0, 12_000, fr).replace(/\s/g, " "), "il y a 12 s");
});

test("the hub's own addresses are not the page's", () => {
  assert.deepEqual(match("/stations/12"), { name: "station", id: 12 });
  assert.deepEqual(match("/stations/abc"), { name: "notfound" });
  assert.equal(match("/api-docs"), null);
  assert.equal(match("/api/v1/stations"), null);
});

/** Every key, also of what is within; functions and texts are leaves. */
const keysOf = (words: object, before = ""): string[] =>
  Object.entries(words).flatMap(([key, value]) =>
    typeof value === "object" && value !== null ? keysOf(value as object, `${before}${key}.`) : [`${before}${key}`],
  );

test("both languages have the same words, none of them empty", () => {
  for (const [one, other] of [
    [en, fr],
    [deskEn, deskFr],
    [ABOUT.en, ABOUT.fr],
  ] as [object, object][]) {
    assert.deepEqual(keysOf(other).sort(), keysOf(one).sort());
    assert.ok(!JSON.stringify([one, other]).includes('""'));
  }
});

test("a link's secret is taken out of the address, and only of the addresses that have one", () => {
  assert.deepEqual(handed("#/reset?token=abc-_1"), { path: "/reset", token: "abc-_1" });
  assert.deepEqual(handed("#/forgot"), { path: "/forgot", token: null });
  assert.equal(handed("#/account?token=abc"), null);
  assert.equal(handed("#content"), null);
});

test("the desk's addresses are the page's, and only whole words of them", () => {
  for (const path of ["/signin", "/account/keys", "/users/3", "/networks/1/rejects", "/gateways/unilag-01", "/audit"])
    assert.deepEqual(match(path), { name: "desk" });
  assert.deepEqual(match("/usersx"), { name: "notfound" });
});

const account = (role: Account["role"], ...networks: [number, Account["networks"][number]["role"]][]): Account => ({
  id: 1,
  email: "ada@example.org",
  name: "Ada",
  role,
  email_verified: true,
  totp: false,
  created: "2026-11-25T00:00:00.000Z",
  networks: networks.map(([id, within]) => ({ id, slug: `n${id}`, name: "", role: within })),
});

test("an operator of one network may nothing in another", () => {
  const ada = account("authenticated", [1, "operator"], [2, "viewer"]);
  assert.ok(may(ada, "operator", 1) && may(ada, "viewer", 2) && may(ada, "operator"));
  assert.ok(!may(ada, "admin", 1) && !may(ada, "operator", 2) && !may(ada, "viewer", 3) && !may(null, "viewer", 1));
  assert.ok(may(account("admin"), "admin", 3));
});

test("only what somebody may see is offered", () => {
  assert.deepEqual(offered(null), []);
  assert.deepEqual(offered(account("authenticated")), []);
  assert.deepEqual(offered(account("authenticated", [1, "viewer"])), ["networks"]);
  assert.deepEqual(offered(account("authenticated", [1, "operator"])), ["gateways", "networks"]);
  assert.deepEqual(offered(account("authenticated", [1, "admin"])), ["gateways", "networks", "audit"]);
  assert.deepEqual(offered(account("admin")), ["gateways", "networks", "users", "audit"]);
});

test("gateways sort by number within words, and what is not known is the least", () => {
  const one = (name: string, pending: number | null): Gateway => ({
    ...{ id: 1, name, state: "enrolled", enrolled: null, revoked: null, last_seen: null, sensors: 0, pending },
  });
  const all = [one("lagos-10", 5), one("lagos-2", null), one("lagos-1", 5)];
  const names = (found: Gateway[]) => found.map(({ name }) => name);
  assert.deepEqual(names(sorted(all, "name", false)), ["lagos-1", "lagos-2", "lagos-10"]);
  assert.deepEqual(names(sorted(all, "pending", true)), ["lagos-1", "lagos-10", "lagos-2"]);
});

test("a clock is told as a word or by how far it is off", () => {
  assert.equal(clock(null, en), "–");
  assert.equal(clock("synced", en), "synced");
  assert.equal(clock({ state: "synced", offset_ms: 1234 }, en), "synced, 1.2 s");
});

test("an event of a stream is its name, id and data; a comment is none", () => {
  assert.deepEqual(parsed('event: sample\nid: 7.0\ndata: {"a":1}'), { event: "sample", id: "7.0", data: '{"a":1}' });
  assert.deepEqual(parsed("data:one\ndata: two"), { event: "message", id: "", data: "one\ntwo" });
  assert.equal(parsed(": still here"), null);
  assert.equal(parsed("retry: 3000"), null);
});

test("a browser is known by its own name, not by those it also claims", () => {
  const chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36";
  assert.equal(agent(chrome), "Chrome · Linux");
  assert.equal(agent(`${chrome} Edg/131.0`), "Edge · Linux");
  assert.equal(agent("Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) Version/17.0 Mobile Safari/604.1"), "Safari · iOS");
  assert.equal(agent("curl/8.5.0"), "curl/8.5.0");
  assert.equal(agent(null), "");
});

test("both languages title the same parameters", () => {
  assert.deepEqual(Object.keys(fr.parameters), Object.keys(en.parameters));
});
