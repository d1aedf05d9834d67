// Whoever is signed in -> their account: name, address, password, second factor; their sessions; their API keys.
import { ageOf } from "../ages.ts";
import { request } from "./request.ts";
import { element } from "../dom.ts";
import type { Account } from "./session.ts";
import type { View } from "../view.ts";
import { agent } from "./agent.ts";
import { sure } from "./dialog.ts";
import { newPassword } from "./entry.ts";
import { action, Form } from "./form.ts";
import { keysPart } from "./keys.ts";
import { all, type Desk, Part, room, section } from "./room.ts";
import { facts, table } from "./table.ts";
import { totpSection } from "./totp.ts";

interface SessionShown {
  id: string;
  created: string;
  seen: string;
  expires: string;
  address: string | null;
  agent: string | null;
  current: boolean;
}

const known = (desk: Desk): Account => desk.account as Account;

/** The three views of an account, beside each other. */
function tabs({ words }: Desk, here: string): HTMLElement {
  const all: [string, string][] = [
    ["/account", words.account],
    ["/account/sessions", words.sessions],
    ["/account/keys", words.keys],
  ];
  const links = all.map(([href, text]) => element("a", { href, "aria-current": href === here && "page" }, text));
  return element("nav", { class: "tabs", "aria-label": words.account }, ...links);
}

export function accountView(desk: Desk): View {
  const { words, session } = desk;
  const account = known(desk);
  const roles = account.networks.map(({ name, slug, role }) => `${name || slug}: ${words.networkRoles[role]}`);
  const about = facts([
    [words.email, account.email],
    [words.role, words.roles[account.role]],
    [words.networks, roles.length > 0 ? roles.join(", ") : null],
    [words.since, ageOf(account.created, null, desk.page.words)],
  ]);
  const out = action(desk, words.signOut, async () => {
    await session.signOut();
    desk.page.go("/");
  });
  return room(account.name || account.email, [
    tabs(desk, "/account"),
    section(words.you, about, mailPart(desk, account), element("div", { class: "foot" }, out)),
    section(words.name, nameForm(desk, account)),
    section(words.password, passwordForm(desk, account)),
    totpSection(desk, account),
  ]);
}

function mailPart(desk: Desk, account: Account): HTMLElement | null {
  if (account.email_verified) return null;
  const { words } = desk;
  const said = element("span", { role: "status" });
  const again = action(desk, words.sendVerification, async () => {
    await request("POST", "/auth/email/send", { body: {} });
    said.textContent = words.linkSent;
  });
  return element("div", { class: "notice" }, element("p", {}, words.notVerified), again, said);
}

function nameForm(desk: Desk, account: Account): HTMLElement {
  const { words, session } = desk;
  const form: Form = new Form(desk, {
    fields: [{ name: "name", label: words.name, value: account.name, autocomplete: "name", most: 100 }],
    submit: words.save,
    send: async (values) => {
      session.became(await request<Account>("PATCH", "/auth/me", { body: { name: values.name } }));
      form.done(words.saved);
    },
  });
  return form.element;
}

function passwordForm(desk: Desk, { email }: Account): HTMLElement {
  const { words } = desk;
  const form: Form = new Form(desk, {
    fields: [
      { name: "current", label: words.currentPassword, type: "password", autocomplete: "current-password" },
      newPassword(desk, "new"),
    ],
    submit: words.changePassword,
    username: email,
    send: async (values) => {
      await request("POST", "/auth/password", { body: { current: values.current, new: values.new } });
      form.done(words.passwordChanged);
    },
  });
  return form.element;
}

export function sessionsView(desk: Desk): View {
  const { words } = desk;
  const part: Part<SessionShown[]> = new Part(
    desk,
    (signal) => all<SessionShown>("/auth/sessions", signal),
    (found) => [
      sessionsTable(desk, found, async (id) => {
        await request("DELETE", `/auth/sessions/${encodeURIComponent(id)}`);
        await part.again();
      }),
    ],
  );
  const others = action(desk, words.endOthers, async () => {
    if (!(await sure(desk, words.endOthers, words.endOthersText, words.endThem))) return;
    await request("DELETE", "/auth/sessions");
    await part.again();
  });
  return room(words.sessions, [tabs(desk, "/account/sessions"), section(words.sessions, element("p", {}, words.sessionsLead), part.element, element("div", { class: "foot" }, others))], {
    close: () => part.close(),
  });
}

function sessionsTable(desk: Desk, found: SessionShown[], end: (id: string) => Promise<void>): HTMLElement {
  const { words, page } = desk;
  const rows = found.map((one) => {
    const name = agent(one.agent) || words.unknownDevice;
    const last = one.current
      ? element("span", { class: "chip state" }, words.thisSession)
      : action(desk, words.end, () => end(one.id), "quiet", `${words.end}: ${name}`);
    return {
      cells: [name, one.address ?? "–", ageOf(one.seen, null, page.words), ageOf(one.created, null, page.words), last],
      data: { session: one.id },
    };
  });
  return table(words.sessions, [words.device, words.address, words.lastSeen, words.begun, words.does], rows);
}

export function keysView(desk: Desk): View {
  const { words } = desk;
  const part = keysPart(desk, "/auth/keys", ["read", "write", "ingest"]);
  return room(words.keys, [tabs(desk, "/account/keys"), section(words.keys, element("p", {}, words.keysLead), part.element)], {
    close: () => part.close(),
  });
}
