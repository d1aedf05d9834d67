// An address in; the view of people, networks or gateways that it names out. Loaded when somebody goes there.
import "./desk.css";
import { isAdmin, may, offered } from "./may.ts";
import { notFoundView } from "../notfound.ts";
import type { Account } from "./session.ts";
import { LANGUAGES } from "../strings/language.ts";
import type { Page, View } from "../view.ts";
import { accountView, keysView, sessionsView } from "./account.ts";
import { auditView } from "./audit.ts";
import { forgotView, registerView, resetView, setupView, verifyView } from "./entry.ts";
import { gatewayView } from "./gateway.ts";
import { gatewaysView, newGatewayView } from "./gateways.ts";
import { networksView, networkView, rejectsView } from "./networks.ts";
import type { Desk } from "./room.ts";
import { signInView } from "./signin.ts";
import { usersView, userView } from "./users.ts";

interface Room {
  path: RegExp;
  /** Who finds something here; left out: anybody who is signed in. */
  may?: (account: Account) => boolean;
  open: (desk: Desk, found: string[], search: URLSearchParams) => View;
}

/** Open to anybody. */
const DOORS: Room[] = [
  { path: /^\/register$/, open: registerView },
  { path: /^\/forgot$/, open: forgotView },
  { path: /^\/reset$/, open: resetView },
  { path: /^\/verify$/, open: verifyView },
  { path: /^\/setup$/, open: setupView },
];

const fleet = (account: Account): boolean => offered(account).includes("gateways");

const ROOMS: Room[] = [
  { path: /^\/(?:account|signin)$/, open: accountView },
  { path: /^\/account\/sessions$/, open: sessionsView },
  { path: /^\/account\/keys$/, open: keysView },
  { path: /^\/users$/, may: isAdmin, open: usersView },
  { path: /^\/users\/(\d{1,15})$/, may: isAdmin, open: (desk, [id]) => userView(desk, Number(id)) },
  { path: /^\/networks$/, open: networksView },
  { path: /^\/networks\/(\d{1,15})$/, open: (desk, [id]) => networkView(desk, Number(id)) },
  {
    path: /^\/networks\/(\d{1,15})\/rejects$/,
    may: (account) => may(account, "operator"),
    open: (desk, [id]) => rejectsView(desk, Number(id)),
  },
  { path: /^\/gateways$/, may: fleet, open: (desk, _found, search) => gatewaysView(desk, search) },
  { path: /^\/gateways\/new$/, may: fleet, open: newGatewayView },
  { path: /^\/gateways\/([a-z0-9-]{2,31})$/, may: fleet, open: (desk, [name = ""]) => gatewayView(desk, name) },
  { path: /^\/audit$/, may: (account) => may(account, "admin"), open: (desk, _found, search) => auditView(desk, search) },
];

export async function deskView(page: Page, address: URL): Promise<View> {
  const [session, words] = await Promise.all([page.session(), LANGUAGES[page.words.tag].desk()]);
  await session.token(); // who came back is known only now, when the hub could not be reached before
  const { account } = session;
  const desk: Desk = { page, words, session, account };
  const path = address.pathname.replace(/(.)\/$/, "$1");
  const door = DOORS.find((one) => one.path.test(path));
  if (door) return door.open(desk, [], address.searchParams);
  if (account === null) return signInView(desk, path === "/signin" ? null : path);
  const room = ROOMS.find((one) => one.path.test(path));
  if (room === undefined || (room.may && !room.may(account))) return notFoundView(page);
  return room.open(desk, (room.path.exec(path) ?? []).slice(1), address.searchParams);
}
