// The hub's accounts -> a list, a form that makes one with a link to set its password, and each account's view.
import { ageOf } from "../ages.ts";
import { request } from "./request.ts";
import { element } from "../dom.ts";
import type { Account } from "./session.ts";
import type { View } from "../view.ts";
import { sure } from "./dialog.ts";
import { action, Form } from "./form.ts";
import { all, type Desk, Part, room, section } from "./room.ts";
import { copyable, once } from "./shown.ts";
import { facts, table } from "./table.ts";

interface User extends Account {
  disabled?: boolean;
}

interface Link {
  link: string;
  expires: string;
}

const linkShown = (desk: Desk, { link, expires }: Link): HTMLElement =>
  once(
    desk,
    desk.words.oneTimeLink,
    copyable(desk, desk.words.oneTimeLinkLead, link, "link"),
    element("p", { class: "hint" }, desk.words.worksUntil(new Date(expires).toLocaleString(desk.page.words.locale))),
  );

const roleOptions = ({ words }: Desk): [string, string][] => [
  ["authenticated", words.roles.authenticated],
  ["admin", words.roles.admin],
];

export function usersView(desk: Desk): View {
  const { words } = desk;
  const part = new Part(
    desk,
    (signal) => all<User>("/users", signal),
    (found) => {
      const rows = found.map((user) => ({
        cells: [
          element("a", { href: `/users/${user.id}` }, user.name || user.email),
          user.email,
          words.roles[user.role],
          user.networks.map(({ name, slug }) => name || slug).join(", ") || "–",
          state(desk, user),
        ],
        data: { user: user.email },
      }));
      return [
        element("p", { class: "summary" }, words.usersCount(found.length)),
        table(words.users, [words.name, words.email, words.role, words.networks, words.state], rows),
      ];
    },
  );
  const fresh = element("div");
  const form: Form = new Form(desk, {
    fields: [
      { name: "name", label: words.name, most: 100, autocomplete: "off" },
      { name: "email", label: words.email, type: "email", most: 254, autocomplete: "off" },
      { name: "role", label: words.role, type: "select", options: roleOptions(desk) },
    ],
    submit: words.addUser,
    send: async ({ name, email, role }) => {
      const made = await request<Link & { account: User }>("POST", "/users", { body: { name, email: email?.trim(), role } });
      fresh.replaceChildren(linkShown(desk, made));
      form.clear();
      await part.again();
    },
  });
  const add = element("details", { class: "panel more" }, element("summary", {}, words.addUser), element("p", {}, words.addUserLead), form.element);
  return room(words.users, [fresh, part.element, add], { close: () => part.close() });
}

function state({ words }: Desk, user: User): HTMLElement {
  const parts = [user.disabled ? words.disabled : words.active, user.totp && words.secondFactorShort, !user.email_verified && words.emailOpen];
  return element("span", { class: user.disabled ? "chip state off" : "chip state" }, parts.filter(Boolean).join(" · "));
}

export function userView(desk: Desk, id: number): View {
  const { words, page } = desk;
  const fresh = element("div");
  const part: Part<User> = new Part(
    desk,
    (signal) => request<User>("GET", `/users/${id}`, { signal }),
    (user) => [
      named(user),
      facts([
        [words.email, user.email],
        [words.role, words.roles[user.role]],
        [words.networks, user.networks.map(({ name, slug, role }) => `${name || slug}: ${words.networkRoles[role]}`).join(", ")],
        [words.since, ageOf(user.created, null, page.words)],
        [words.state, state(desk, user)],
      ]),
      section(words.change, changeForm(desk, user, () => part.again())),
      section(words.access, fresh, access(desk, user, fresh, () => part.again())),
    ],
  );
  const view = room(words.userTitle(id), [part.element], { back: ["/users", words.users], close: () => part.close() });
  const named = (user: User): null => {
    view.rename(user.name || user.email);
    page.retitle();
    return null;
  };
  return view;
}

function changeForm(desk: Desk, user: User, again: () => Promise<void>): HTMLElement {
  const { words } = desk;
  return new Form(desk, {
    fields: [
      { name: "name", label: words.name, value: user.name, most: 100, autocomplete: "off" },
      { name: "role", label: words.role, type: "select", value: user.role, options: roleOptions(desk) },
    ],
    submit: words.save,
    send: async ({ name, role }) => {
      await request("PATCH", `/users/${user.id}`, { body: { name, role } });
      await again();
    },
  }).element;
}

function access(desk: Desk, user: User, fresh: HTMLElement, again: () => Promise<void>): HTMLElement {
  const { words } = desk;
  const path = `/users/${user.id}`;
  const reset = action(desk, words.resetLink, async () => {
    fresh.replaceChildren(linkShown(desk, await request<Link>("POST", `${path}/reset`, { body: {} })));
  });
  const end = action(desk, words.endSessions, async () => {
    await request("DELETE", `${path}/sessions`);
    fresh.replaceChildren(element("p", { class: "done", role: "status" }, words.sessionsEnded));
  });
  const able = action(desk, user.disabled ? words.enable : words.disable, async () => {
    if (!user.disabled && !(await sure(desk, words.disable, words.disableText(user.email), words.disable))) return;
    await request("PATCH", path, { body: { disabled: !user.disabled } });
    await again();
  });
  const remove = action(
    desk,
    words.deleteUser,
    async () => {
      if (!(await sure(desk, words.deleteUser, words.deleteUserText(user.email), words.deleteUser))) return;
      await request("DELETE", path);
      desk.page.go("/users");
    },
    "danger",
  );
  const own = user.id === desk.account?.id;
  return element("div", { class: "foot" }, reset, end, own ? null : able, own ? null : remove);
}
