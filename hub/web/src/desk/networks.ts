// Networks -> a list with a form for one more; each one's settings, members and what was refused.
import { ageOf } from "../ages.ts";
import { request } from "./request.ts";
import { type Child, element } from "../dom.ts";
import { may, isAdmin } from "./may.ts";
import type { NetworkRole } from "./session.ts";
import type { View } from "../view.ts";
import { sure } from "./dialog.ts";
import { action, type Field, Form, type Values } from "./form.ts";
import { all, type Desk, onePage, Part, room, section } from "./room.ts";
import { facts, table } from "./table.ts";

export interface Network {
  id: number;
  slug: string;
  name: string;
  visibility: "public" | "coarse" | "private";
  licence: string | null;
  attribution: string | null;
  embargo_s: number;
  stations: number;
  role: NetworkRole | null;
}

interface Member {
  account: number;
  email: string;
  name: string;
  role: NetworkRole;
}

export interface Reject {
  id: number;
  received: string;
  route: string;
  gateway: string | null;
  sensor: string | null;
  code: string;
  why: string;
  content: string;
}

const VISIBILITIES = ["public", "coarse", "private"] as const;
const ROLES: NetworkRole[] = ["viewer", "operator", "admin"];
const HOUR_S = 3600;

const roleOptions = ({ words }: Desk): [string, string][] => ROLES.map((role) => [role, words.networkRoles[role]]);

function settingsFields({ words }: Desk, given?: Network): Field[] {
  return [
    { name: "name", label: words.name, most: 100, autocomplete: "off", value: given?.name ?? "" },
    {
      name: "visibility",
      label: words.visibility,
      type: "select",
      hint: words.visibilityHint,
      value: given?.visibility ?? "public",
      options: VISIBILITIES.map((one) => [one, words.visibilities[one]]),
    },
    { name: "licence", label: words.licence, hint: words.licenceHint, optional: true, most: 100, autocomplete: "off", value: given?.licence ?? "" },
    { name: "attribution", label: words.attribution, optional: true, most: 500, autocomplete: "off", value: given?.attribution ?? "" },
    { name: "embargo", label: words.embargo, hint: words.embargoHint, type: "number", optional: true, value: String((given?.embargo_s ?? 0) / HOUR_S) },
  ];
}

const settings = (values: Values) => ({
  name: values.name,
  visibility: values.visibility,
  licence: values.licence?.trim() || null,
  attribution: values.attribution?.trim() || null,
  embargo_s: Math.round(Number(values.embargo || 0) * HOUR_S),
});

export function networksView(desk: Desk): View {
  const { words, page, account } = desk;
  const part = new Part(
    desk,
    (signal) => all<Network>("/networks", signal),
    (found) => {
      // The hub lists what anybody may see; here is what somebody can do something with.
      const mine = found.filter((one) => may(account, "viewer", one.id));
      if (mine.length === 0) return [element("p", { class: "summary" }, words.noNetworks)];
      const rows = mine.map((one) => ({
        cells: [
          element("a", { href: `/networks/${one.id}` }, one.name || one.slug),
          words.visibilities[one.visibility],
          one.licence ?? "–",
          String(one.stations),
          one.role ? words.networkRoles[one.role] : "–",
        ],
        data: { network: one.slug },
      }));
      return [table(words.networks, [words.name, words.visibility, words.licence, page.words.stations, words.yourRole], rows)];
    },
  );
  const parts: Child[] = [part.element];
  if (isAdmin(account)) parts.push(addNetwork(desk));
  return room(words.networks, parts, { close: () => part.close() });
}

function addNetwork(desk: Desk): HTMLElement {
  const { words, page } = desk;
  const form = new Form(desk, {
    fields: [{ name: "slug", label: words.slug, hint: words.slugHint, most: 40, autocomplete: "off" }, ...settingsFields(desk)],
    submit: words.addNetwork,
    send: async (values) => {
      const made = await request<Network>("POST", "/networks", { body: { slug: values.slug?.trim(), ...settings(values) } });
      page.go(`/networks/${made.id}`);
    },
  });
  return element("details", { class: "panel more" }, element("summary", {}, words.addNetwork), form.element);
}

export function networkView(desk: Desk, id: number): View {
  const { words, page, account } = desk;
  const members: Part<Member[]> = new Part(
    desk,
    (signal) => (may(account, "admin", id) ? all<Member>(`/networks/${id}/members`, signal) : Promise.resolve([])),
    (found) => (may(account, "admin", id) ? [section(words.members, ...membersParts(desk, id, found, () => members.again()))] : []),
  );
  const part: Part<Network> = new Part(
    desk,
    (signal) => request<Network>("GET", `/networks/${id}`, { signal }),
    (network) => [
      named(network),
      facts([
        [words.slug, network.slug],
        [words.visibility, words.visibilities[network.visibility]],
        [words.licence, network.licence],
        [words.attribution, network.attribution],
        [words.embargo, network.embargo_s > 0 ? words.hours(network.embargo_s / HOUR_S) : null],
        [page.words.stations, String(network.stations)],
      ]),
      links(desk, id),
      may(account, "admin", id) && section(words.settings, settingsForm(desk, network, () => part.again())),
      isAdmin(account) && section(words.deleteNetwork, element("p", {}, words.deleteNetworkLead), removal(desk, network)),
    ],
  );
  const name = account?.networks.find((one) => one.id === id)?.name ?? words.networkTitle(id);
  const view = room(name, [part.element, members.element], {
    back: ["/networks", words.networks],
    close: () => {
      part.close();
      members.close();
    },
  });
  const named = (network: Network): null => {
    view.rename(network.name || network.slug);
    page.retitle();
    return null;
  };
  return view;
}

function links({ words, account }: Desk, id: number): HTMLElement {
  return element(
    "p",
    { class: "foot" },
    may(account, "operator", id) && element("a", { href: `/networks/${id}/rejects` }, words.rejects),
    may(account, "operator", id) && element("a", { href: `/gateways?network=${id}` }, words.gateways),
    may(account, "admin", id) && element("a", { href: `/audit?network=${id}` }, words.audit),
  );
}

function settingsForm(desk: Desk, network: Network, again: () => Promise<void>): HTMLElement {
  const { words } = desk;
  return new Form(desk, {
    fields: settingsFields(desk, network),
    submit: words.save,
    send: async (values) => {
      await request("PATCH", `/networks/${network.id}`, { body: settings(values) });
      await again();
    },
  }).element;
}

function removal(desk: Desk, network: Network): HTMLElement {
  const { words, page } = desk;
  const remove = async () => {
    if (!(await sure(desk, words.deleteNetwork, words.deleteNetworkText(network.name || network.slug), words.deleteNetwork))) return;
    await request("DELETE", `/networks/${network.id}`);
    page.go("/networks");
  };
  return element("div", { class: "foot" }, action(desk, words.deleteNetwork, remove, "danger"));
}

function membersParts(desk: Desk, network: number, found: Member[], again: () => Promise<void>): Child[] {
  const { words } = desk;
  const path = `/networks/${network}/members`;
  const rows = found.map((one) => ({
    cells: [one.name || one.email, one.email, roleSelect(desk, `${path}/${one.account}`, one), removeMember(desk, `${path}/${one.account}`, one, again)],
    data: { member: one.email },
  }));
  const form: Form = new Form(desk, {
    fields: [
      { name: "email", label: words.email, hint: words.memberHint, type: "email", most: 254, autocomplete: "off" },
      { name: "role", label: words.role, type: "select", options: roleOptions(desk) },
    ],
    submit: words.addMember,
    send: async ({ email, role }) => {
      await request("POST", path, { body: { email: email?.trim(), role } });
      await again();
    },
  });
  const list = found.length > 0 ? table(words.members, [words.name, words.email, words.role, words.does], rows) : element("p", { class: "summary" }, words.noMembers);
  return [list, element("details", { class: "more" }, element("summary", {}, words.addMember), form.element)];
}

function roleSelect(desk: Desk, path: string, member: Member): HTMLElement {
  const { words } = desk;
  const options = roleOptions(desk).map(([value, text]) => element("option", { value, selected: value === member.role }, text));
  const select = element("select", { "aria-label": `${words.role}: ${member.email}` }, ...options);
  const save = action(desk, words.save, async () => {
    await request("PUT", path, { body: { role: select.value } });
    member.role = select.value as NetworkRole;
    save.hidden = true;
  });
  save.hidden = true;
  select.addEventListener("change", () => (save.hidden = select.value === member.role));
  return element("span", { class: "action" }, select, save);
}

function removeMember(desk: Desk, path: string, member: Member, again: () => Promise<void>): HTMLElement {
  const { words } = desk;
  const remove = async () => {
    if (!(await sure(desk, words.removeMember, words.removeMemberText(member.email), words.removeMember))) return;
    await request("DELETE", path);
    await again();
  };
  return action(desk, words.removeMember, remove, "quiet", `${words.removeMember}: ${member.email}`);
}

/** What a network sent that could not be stored, newest first, and why. */
export function rejectsView(desk: Desk, id: number): View {
  const { words, page } = desk;
  const back: [string, string] = [`/networks/${id}`, words.networkTitle(id)];
  const list = pages<Reject>(desk, `/networks/${id}/rejects`, (found) => {
    if (found.length === 0) return element("p", { class: "summary" }, words.noRejects);
    const rows = found.map((one) => ({
      cells: [
        ageOf(one.received, null, page.words),
        [one.gateway, one.sensor].filter(Boolean).join("/") || "–",
        element("span", {}, element("b", {}, one.code), ` ${one.why}`),
        element("details", {}, element("summary", {}, words.content), element("pre", {}, one.content)),
      ],
      data: { reject: one.code },
    }));
    return table(words.rejects, [words.time, words.sensor, words.reason, words.content], rows);
  });
  return room(words.rejects, [element("p", { class: "summary" }, words.rejectsLead), list.element], { back, close: () => list.close() });
}

/** A list that is too long for one answer: a button asks for more. */
export function pages<T>(desk: Desk, path: string, show: (found: T[]) => HTMLElement): { element: HTMLElement; close: () => void } {
  const found: T[] = [];
  let next: string | null = null;
  const part: Part<void> = new Part(
    desk,
    async (signal) => {
      const got = await onePage<T>(path, next, signal, 50);
      found.push(...got.results);
      next = got.meta.next;
    },
    () => [show(found), next !== null && element("div", { class: "foot" }, action(desk, desk.words.more, () => part.again()))],
  );
  return { element: part.element, close: () => part.close() };
}
