// One gateway -> its view: how it is, its ledger, its sensors and keys; invite, move, revoke.
import { ageOf } from "../ages.ts";
import type { Sensor, Station } from "../api.ts";
import { type Child, element } from "../dom.ts";
import { may } from "./may.ts";
import type { View } from "../view.ts";
import { sure } from "./dialog.ts";
import { clock, counted, type Gateway, share } from "./fleet.ts";
import { action, Form } from "./form.ts";
import { type Invited, invitation, state } from "./gateways.ts";
import { instant, keysPart } from "./keys.ts";
import { request } from "./request.ts";
import { all, type Desk, Part, room, section } from "./room.ts";
import { facts, table } from "./table.ts";

interface Counts {
  produced: number;
  stored: number;
  dead_lettered: number;
  tombstoned: number;
  lost: number;
  pending: number;
}

interface Ledger {
  streams: { stream: string; card: string | null; held: [number, number][]; gone: [number, number][]; counters?: Counts }[];
  gaps: unknown[];
  counters: Counts;
}

const EVERY_MS = 30_000;
/** A stream of many pieces is told by its first and last. */
const PIECES = 6;

export function gatewayView(desk: Desk, name: string): View {
  const { words } = desk;
  const path = `/gateways/${encodeURIComponent(name)}`;
  const fresh = element("div");
  const tools = element("div", { class: "part" });
  let drawn = "";
  const part: Part<Gateway> = new Part(
    desk,
    (signal) => request<Gateway>("GET", path, { signal }),
    (gateway) => {
      // A form that somebody is filling in is not drawn anew for a figure that moved.
      const key = `${gateway.state} ${gateway.network ?? ""} ${gateway.kind ?? ""}`;
      if (key !== drawn) tools.replaceChildren(...toolsOf(desk, gateway, path, fresh, () => part.again(), closing));
      drawn = key;
      return [head(desk, gateway)];
    },
  );
  const ledger = new Part<Ledger>(
    desk,
    (signal) => request<Ledger>("GET", `${path}/ledger`, { signal }),
    (told) => ledgerParts(desk, told),
  );
  const sensors = new Part<Sensor[]>(
    desk,
    async (signal) => (await all<Sensor>("/sensors", signal)).filter((one) => one.name.startsWith(`${name}/`)),
    (found) => sensorsParts(desk, found),
  );
  const closing: (() => void)[] = [() => part.close(), () => ledger.close(), () => sensors.close()];
  const timer = setInterval(() => {
    if (document.visibilityState === "hidden" || document.querySelector("dialog") !== null) return;
    void part.again();
    void ledger.again();
  }, EVERY_MS);
  closing.push(() => clearInterval(timer));
  const parts = [part.element, fresh, section(words.sensors, sensors.element), section(words.ledger, element("p", { class: "hint" }, words.ledgerLead), ledger.element), tools];
  return room(name, parts, { back: ["/gateways", words.gateways], close: () => closing.forEach((end) => end()) });
}

function head(desk: Desk, gateway: Gateway): HTMLElement {
  const { words, page, account } = desk;
  const network = account?.networks.find(({ id }) => id === gateway.network)?.name ?? (gateway.network ? words.networkTitle(gateway.network) : null);
  const moment = (time: string | null) => time && ageOf(time, null, page.words);
  return facts([
    [words.state, state(desk, gateway)],
    [words.columns.seen, moment(gateway.last_seen) ?? page.words.never],
    [words.network, network && gateway.network ? element("a", { href: `/networks/${gateway.network}` }, network) : null],
    [words.kind, gateway.kind ? words.kinds[gateway.kind] : null],
    [words.columns.pending, counted(gateway.pending, page.words)],
    [words.completenessOf(gateway.completeness?.hours ?? 24), share(gateway, page.words)],
    [words.columns.version, gateway.version],
    [words.clock, clock(gateway.clock, page.words)],
    [words.columns.gaps, counted(gateway.gaps, page.words)],
    [words.columns.lost, counted(gateway.lost, page.words)],
    [words.enrolled, moment(gateway.enrolled)],
    [words.revoked, moment(gateway.revoked)],
  ]);
}

function sensorsParts(desk: Desk, found: Sensor[]): Child[] {
  const { words, page } = desk;
  if (found.length === 0) return [element("p", { class: "summary" }, words.noSensors)];
  const rows = found.map((one) => ({
    cells: [
      one.name.slice(one.name.indexOf("/") + 1),
      [one.maker, one.model].filter(Boolean).join(" ") || (one.profile ?? "–"),
      one.last_seen === null ? page.words.never : ageOf(one.last_seen, null, page.words),
      one.station === null ? "–" : element("a", { href: `/stations/${one.station}` }, page.fleet.station(one.station)?.name ?? `${words.station} ${one.station}`),
    ],
    data: { sensor: one.name },
  }));
  return [table(words.sensors, [words.name, words.model, words.columns.seen, words.station], rows)];
}

function ledgerParts(desk: Desk, { streams, gaps, counters }: Ledger): Child[] {
  const { words, page } = desk;
  const counts: [keyof Counts, string][] = [
    ["produced", words.produced],
    ["stored", words.stored],
    ["pending", words.columns.pending],
    ["dead_lettered", words.deadLettered],
    ["tombstoned", words.tombstoned],
    ["lost", words.columns.lost],
  ];
  const list = facts(counts.map(([name, text]) => [text, counted(counters[name], page.words)]));
  if (streams.length === 0) return [element("p", { class: "summary" }, words.noRows)];
  const rows = streams.map((one) => ({
    cells: [element("code", {}, one.stream), element("code", {}, one.card ?? "–"), pieces(one.held), pieces(one.gone)],
    data: { stream: one.stream },
  }));
  const holes = element("p", {}, gaps.length === 0 ? words.noGaps : words.gapsCount(gaps.length));
  return [list, holes, table(words.ledger, [words.stream, words.card, words.held, words.gone], rows)];
}

function pieces(ranges: readonly [number, number][]): string {
  if (ranges.length === 0) return "–";
  const texts = ranges.map(([lo, hi]) => (lo === hi ? `${lo}` : `${lo}–${hi}`));
  return texts.length <= PIECES ? texts.join(", ") : [...texts.slice(0, PIECES - 1), "…", texts.at(-1)].join(", ");
}

type Again = () => Promise<void>;

function toolsOf(desk: Desk, gateway: Gateway, path: string, fresh: HTMLElement, again: Again, closing: (() => void)[]): Node[] {
  const { words, account } = desk;
  const network = gateway.network ?? undefined;
  const parts: Child[] = [];
  const admin = may(account, "admin", network);
  if (admin && gateway.state !== "enrolled" && gateway.kind !== "push") parts.push(section(words.invite, element("p", {}, words.inviteLead), invite(desk, gateway, path, fresh, again)));
  if (may(account, "operator", network) && gateway.state !== "revoked") parts.push(section(words.move, move(desk, gateway, path, again, closing)));
  if (admin && gateway.state !== "revoked") {
    const keys = keysPart(desk, `${path}/keys`, ["ingest"]);
    closing.push(() => keys.close());
    parts.push(section(words.keys, element("p", {}, words.gatewayKeysLead), keys.element));
    parts.push(section(words.revoke, element("p", {}, words.revokeLead), revoke(desk, gateway, path, fresh, again)));
  }
  return parts.filter((one): one is HTMLElement => one instanceof HTMLElement);
}

function invite(desk: Desk, gateway: Gateway, path: string, fresh: HTMLElement, again: Again): HTMLElement {
  const { words } = desk;
  const run = async () => {
    const made = await request<Omit<Invited, "gateway">>("POST", `${path}/invite`, { body: {} });
    fresh.replaceChildren(invitation(desk, { ...made, gateway }));
    await again();
  };
  return element("div", { class: "foot" }, action(desk, words.inviteAgain, run, "main"));
}

function revoke(desk: Desk, gateway: Gateway, path: string, fresh: HTMLElement, again: Again): HTMLElement {
  const { words } = desk;
  const run = async () => {
    if (!(await sure(desk, words.revokeGateway(gateway.name), words.revokeGatewayText, words.revoke))) return;
    await request("POST", `${path}/revoke`, { body: {} });
    fresh.replaceChildren();
    await again();
  };
  return element("div", { class: "foot" }, action(desk, words.revoke, run, "danger"));
}

function move(desk: Desk, gateway: Gateway, path: string, again: Again, closing: (() => void)[]): HTMLElement {
  const { words } = desk;
  const part = new Part<(Station & { network?: number })[]>(
    desk,
    (signal) => all<Station & { network?: number }>("/stations", signal),
    (found) => {
      const near = found.filter((one) => one.network === undefined || one.network === gateway.network);
      if (near.length === 0) return [element("p", { class: "summary" }, words.noStations)];
      const form: Form = new Form(desk, {
        fields: [
          { name: "station", label: words.station, type: "select", options: near.map((one) => [String(one.id), one.name]) },
          { name: "from", label: words.movedSince, hint: words.movedSinceHint, type: "datetime-local", optional: true },
        ],
        submit: words.move,
        send: async ({ station, from }) => {
          await request("POST", `${path}/move`, { body: { station: Number(station), ...(from ? { from: instant(from) } : {}) } });
          form.done(words.moved);
          await again();
        },
      });
      return [element("p", {}, words.moveLead), form.element];
    },
  );
  closing.push(() => part.close());
  return part.element;
}
