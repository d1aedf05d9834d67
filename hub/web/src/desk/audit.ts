// What was done, by whom, when -> a list that can be read and never changed.
import { ageOf } from "../ages.ts";
import { element } from "../dom.ts";
import { isAdmin, may } from "./may.ts";
import type { View } from "../view.ts";
import { notFoundView } from "../notfound.ts";
import { pages } from "./networks.ts";
import { type Desk, room } from "./room.ts";
import { table } from "./table.ts";

interface Entry {
  id: number;
  time: string;
  actor: string;
  address: string | null;
  action: string;
  object: string;
  network: number | null;
  detail: Record<string, unknown> | null;
  hash: string;
}

const FILTERS = ["network", "actor", "action"] as const;

/** `?network=`, `?actor=` and `?action=` narrow it; an admin of one network sees that one only. */
export function auditView(desk: Desk, search: URLSearchParams): View {
  const { words, page, account } = desk;
  const query = new URLSearchParams(FILTERS.flatMap((name) => (search.get(name) ? [[name, search.get(name) ?? ""]] : [])));
  const own = account?.networks.find(({ role }) => role === "admin");
  if (!isAdmin(account) && !query.has("network") && own) query.set("network", String(own.id));
  if (!isAdmin(account) && !may(account, "admin", Number(query.get("network")))) return notFoundView(page);
  const list = pages<Entry>(desk, `/audit?${query.toString()}`, (found) => {
    if (found.length === 0) return element("p", { class: "summary" }, words.noAudit);
    const rows = found.map((one) => ({
      cells: [
        ageOf(one.time, null, page.words),
        element("b", {}, one.action),
        one.object,
        element("span", {}, one.actor, one.address && element("small", {}, ` ${one.address}`)),
        element("small", {}, one.detail ? said(one.detail) : ""),
      ],
      data: { action: one.action },
    }));
    return table(words.audit, [words.time, words.does, words.object, words.actor, words.detail], rows);
  });
  const filters = [...query].map(([name, value]) => `${name} = ${value}`).join(", ");
  const lead = element("p", { class: "summary" }, words.auditLead, filters && ` (${filters})`);
  return room(words.audit, [lead, list.element], { close: () => list.close() });
}

const said = (detail: Record<string, unknown>): string =>
  Object.entries(detail)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name} ${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join(", ");
