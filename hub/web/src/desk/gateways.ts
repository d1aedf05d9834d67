// The fleet -> a list that can be sorted by what may be wrong with a gateway, and a form for one more.
import { ageOf } from "../ages.ts";
import { request } from "./request.ts";
import { type Child, element } from "../dom.ts";
import { isAdmin, may } from "./may.ts";
import type { View } from "../view.ts";
import { clock, counted, type Gateway, isSort, share, type Sort, sorted, SORTS } from "./fleet.ts";
import { type Field, Form } from "./form.ts";
import type { Network } from "./networks.ts";
import { all, type Desk, Part, room } from "./room.ts";
import { copyable, once } from "./shown.ts";
import { type Column, table } from "./table.ts";

const EVERY_MS = 30_000;

export interface Invited {
  gateway: Gateway;
  token: string | null;
  command: string | null;
  expires: string | null;
}

/** The word for a gateway's state: what was decided about it first, else whether it is heard. */
export function state({ words }: Desk, { state: decided, online }: Gateway): HTMLElement {
  const name = decided === "enrolled" && online !== undefined && online !== null ? (online ? "online" : "silent") : decided;
  return element("span", { class: `chip state ${name}`, "data-state": decided, "data-online": online === true }, words.gatewayStates[name]);
}

export function gatewaysView(desk: Desk, search: URLSearchParams): View {
  const { words } = desk;
  let asked = search;
  const part = new Part<Gateway[]>(
    desk,
    (signal) => all<Gateway>("/gateways", signal),
    (found) => listed(desk, found, asked),
  );
  const timer = setInterval(() => {
    if (document.visibilityState !== "hidden" && document.querySelector("dialog") === null) void part.again();
  }, EVERY_MS);
  const add = may(desk.account, "admin") && element("p", { class: "foot" }, element("a", { class: "button", href: "/gateways/new" }, words.addGateway));
  const view = room(words.gateways, [add, part.element], {
    close: () => {
      clearInterval(timer);
      part.close();
    },
  });
  view.asked = (now) => {
    asked = now;
    void part.again();
  };
  return view;
}

function listed(desk: Desk, found: Gateway[], search: URLSearchParams): Child[] {
  const { words } = desk;
  const by = search.get("sort");
  const sort: Sort = isSort(by) ? by : "name";
  const down = search.get("order") === "descending";
  const network = Number(search.get("network"));
  const shown = sorted(network > 0 ? found.filter((one) => one.network === network) : found, sort, down);
  if (shown.length === 0) return [element("p", { class: "summary" }, words.noGateways)];
  const online = shown.filter((one) => one.online).length;
  const columns = [
    ...[...SORTS.slice(0, 1)].map((one) => column(desk, one, sort, down, search)),
    { title: words.state },
    ...SORTS.slice(1).map((one) => column(desk, one, sort, down, search)),
    { title: words.clock },
  ];
  const rows = shown.map((one) => ({ cells: cells(desk, one), data: { gateway: one.name } }));
  return [
    element("p", { class: "summary" }, words.gatewaysCount(shown.length, online)),
    sorter(desk, sort, down, search),
    table(desk.words.gateways, columns, rows),
  ];
}

function cells(desk: Desk, one: Gateway): Child[] {
  const { words } = desk.page;
  return [
    element("a", { href: `/gateways/${one.name}` }, one.name),
    state(desk, one),
    one.last_seen === null ? words.never : ageOf(one.last_seen, null, words),
    counted(one.pending, words),
    share(one, words),
    one.version ?? "–",
    counted(one.gaps, words),
    counted(one.lost, words),
    clock(one.clock, words),
  ];
}

function address(search: URLSearchParams, sort: Sort, down: boolean): string {
  const query = new URLSearchParams(search);
  query.set("sort", sort);
  query.set("order", down ? "descending" : "ascending");
  return `/gateways?${query.toString()}`;
}

function column({ words }: Desk, one: Sort, sort: Sort, down: boolean, search: URLSearchParams): Column {
  const now = one !== sort ? "none" : down ? "descending" : "ascending";
  return { title: words.columns[one], sort: { now, href: address(search, one, one === sort && !down) }, number: one !== "name" && one !== "seen" && one !== "version" };
}

/** Where the heads of the columns are not shown: the same choice as a list. */
function sorter(desk: Desk, sort: Sort, down: boolean, search: URLSearchParams): HTMLElement {
  const { words, page } = desk;
  const options = SORTS.flatMap((one) =>
    [false, true].map((way) =>
      element("option", { value: address(search, one, way), selected: one === sort && way === down }, `${words.columns[one]} ${way ? "↓" : "↑"}`),
    ),
  );
  const select = element("select", { id: "sort" }, ...options);
  select.addEventListener("change", () => page.go(select.value));
  return element("p", { class: "sorter" }, element("label", { for: "sort", class: "aside" }, words.sortBy), " ", select);
}

/** The token and the line to paste, once. */
export function invitation(desk: Desk, { gateway, token, command, expires }: Invited): HTMLElement {
  const { words, page } = desk;
  const parts: (Node | string)[] = [];
  if (command !== null) parts.push(copyable(desk, words.pasteThis, command, "command"));
  if (token !== null) parts.push(copyable(desk, words.token, token, "token"));
  if (expires !== null) parts.push(element("p", { class: "hint" }, words.worksUntil(new Date(expires).toLocaleString(page.words.locale))));
  parts.push(element("p", {}, element("a", { href: `/gateways/${gateway.name}` }, words.toGateway(gateway.name))));
  return once(desk, words.invited(gateway.name), ...parts);
}

/** `/gateways/new`. */
export function newGatewayView(desk: Desk): View {
  const { words, account } = desk;
  const stage = element("div");
  const part = new Part<Network[]>(
    desk,
    (signal) => all<Network>("/networks", signal),
    (found) => [gatewayForm(desk, isAdmin(account) ? found : found.filter((one) => may(account, "admin", one.id)), stage, () => part.element.replaceChildren())],
  );
  return room(words.addGateway, [element("p", { class: "summary" }, words.addGatewayLead), stage, part.element], {
    back: ["/gateways", words.gateways],
    close: () => part.close(),
  });
}

function gatewayForm(desk: Desk, networks: Network[], stage: HTMLElement, done: () => void): HTMLElement {
  const { words, page } = desk;
  const fields: Field[] = [
    { name: "name", label: words.gatewayName, hint: words.gatewayNameHint, most: 31, autocomplete: "off" },
    { name: "network", label: words.network, type: "select", options: networks.map((one) => [String(one.id), one.name || one.slug]) },
    { name: "kind", label: words.kind, type: "select", options: [["edge", words.kinds.edge], ["push", words.kinds.push]] },
    { name: "visibility", label: words.visibility, type: "select", optional: true, options: [["", words.asNetwork], ["public", words.visibilities.public], ["coarse", words.visibilities.coarse], ["private", words.visibilities.private]] },
  ];
  const form = new Form(desk, {
    fields,
    submit: words.addGateway,
    send: async ({ name, network, kind, visibility }) => {
      const body = { name: name?.trim(), network: Number(network), kind, ...(visibility ? { visibility } : {}) };
      const made = await request<Invited>("POST", "/gateways", { body });
      if (made.token === null && made.command === null) return page.go(`/gateways/${made.gateway.name}`);
      stage.replaceChildren(invitation(desk, made));
      done();
    },
  });
  return element("div", { class: "panel narrow" }, form.element);
}
