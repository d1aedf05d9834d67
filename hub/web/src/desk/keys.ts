// An address of API keys -> the part that lists them, makes one that is shown once, and revokes.
import { ageOf } from "../ages.ts";
import { request } from "./request.ts";
import { element } from "../dom.ts";
import { sure } from "./dialog.ts";
import { action, Form } from "./form.ts";
import { all, type Desk, Part } from "./room.ts";
import { copyable, once } from "./shown.ts";
import { table } from "./table.ts";

export type Scope = "read" | "write" | "ingest";

interface Key {
  id: number;
  name: string;
  scopes: Scope[];
  hint: string;
  created: string;
  used: string | null;
  expires: string | null;
}

/** A moment of the reader's own clock as the hub wants it; empty: none. */
export const instant = (local: string | undefined): string | null => (local ? new Date(local).toISOString() : null);

/** `scopes`: what a key may be made for; with one there is nothing to choose. */
export function keysPart(desk: Desk, path: string, scopes: Scope[]): { element: HTMLElement; close: () => void } {
  const { words } = desk;
  const fresh = element("div", { class: "part" });
  const revoke = async (key: Key) => {
    if (!(await sure(desk, words.revokeKey(key.name), words.revokeKeyText, words.revoke))) return;
    await request("DELETE", `${path}/${key.id}`);
    await part.again();
  };
  const part: Part<Key[]> = new Part(
    desk,
    (signal) => all<Key>(path, signal),
    (keys) => [keys.length === 0 ? element("p", { class: "summary" }, words.noKeys) : keysTable(desk, keys, revoke, scopes.length > 1)],
  );
  const choice =
    scopes.length > 1
      ? [{ name: "scopes", label: words.scopes, type: "checks" as const, value: "read", options: scopes.map((one): [string, string] => [one, words.scopeNames[one]]) }]
      : [];
  const form: Form = new Form(desk, {
    fields: [
      { name: "name", label: words.keyName, hint: words.keyNameHint, most: 100, autocomplete: "off" },
      ...choice,
      { name: "expires", label: words.expires, type: "datetime-local", optional: true },
    ],
    submit: words.makeKey,
    send: async (values) => {
      const wanted = scopes.length > 1 ? { scopes: (values.scopes ?? "").split(" ").filter(Boolean) } : {};
      const body = { name: values.name, ...wanted, ...(values.expires ? { expires: instant(values.expires) } : {}) };
      const made = await request<Key & { key: string }>("POST", path, { body });
      fresh.replaceChildren(once(desk, words.newKey, copyable(desk, made.name, made.key, "key"), element("p", { class: "hint" }, words.keyUse)));
      form.clear();
      await part.again();
    },
  });
  const make = element("details", { class: "more" }, element("summary", {}, words.makeKey), form.element);
  return { element: element("div", { class: "part" }, fresh, part.element, make), close: () => part.close() };
}

function keysTable(desk: Desk, keys: Key[], revoke: (key: Key) => Promise<void>, scoped: boolean): HTMLElement {
  const { words, page } = desk;
  const rows = keys.map((key) => ({
    cells: [
      element("span", {}, element("b", {}, key.name), " ", element("code", {}, `${key.hint}…`)),
      ...(scoped ? [key.scopes.map((one) => words.scopeNames[one] ?? one).join(", ")] : []),
      key.used === null ? page.words.never : ageOf(key.used, null, page.words),
      key.expires === null ? words.noEnd : new Date(key.expires).toLocaleDateString(page.words.locale),
      action(desk, words.revoke, () => revoke(key), "quiet", `${words.revoke}: ${key.name}`),
    ],
    data: { key: key.name },
  }));
  return table(words.keys, [words.name, ...(scoped ? [words.scopes] : []), words.used, words.expires, words.does], rows);
}
