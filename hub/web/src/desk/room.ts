// A title and parts in; a view of the desk out. What every view of people, networks and gateways has in common.
import type { Problem } from "../api.ts";
import { type Child, element } from "../dom.ts";
import { asProblem, problem as trouble } from "../problem.ts";
import type { Account, Session } from "./session.ts";
import type { Page, View } from "../view.ts";
import { kindOf, request, waitOf } from "./request.ts";
import type { DeskWords } from "./strings/words.ts";

/** What a view of the desk is given. `account` is who is signed in, null on the few views that are open to anybody. */
export interface Desk {
  page: Page;
  words: DeskWords;
  session: Session;
  account: Account | null;
}

export interface Room extends View {
  /** The name of what is shown came after the view. */
  rename: (name: string) => void;
}

/** A view with a heading; its `close` ends what the parts began. */
export function room(title: string, parts: Child[], more: { back?: [string, string]; close?: () => void } = {}): Room {
  const back = more.back && element("p", { class: "back" }, element("a", { href: more.back[0] }, `← ${more.back[1]}`));
  const head = element("h1", { tabindex: -1 }, title);
  const made = element("div", { class: "room" }, back, head, ...parts);
  return {
    element: made,
    title: () => head.textContent ?? "",
    rename: (name) => (head.textContent = name),
    ...(more.close ? { close: more.close } : {}),
  };
}

/** A heading with what stands under it. */
export const section = (title: string, ...parts: Child[]): HTMLElement =>
  element("section", { class: "panel" }, element("h2", {}, title), ...parts);

/** What went wrong, in the reader's language where we know the problem, else in the hub's own words; and what to do. */
export function explain({ page, words }: Desk, error: Problem): { title: string; text: string } {
  const known = words.problems[kindOf(error)];
  const wait = error.status === 429 && waitOf(error) !== null ? words.waitSeconds(waitOf(error) ?? 0) : "";
  // What the hub says of a value that it cannot use is the only thing that helps where no field takes it.
  const about = error.status === 422 || error.status === 409 ? error.detail : "";
  if (known) return { title: known[0], text: [known[1], about, wait].filter(Boolean).join(" ") };
  const said = error.status > 0 ? [error.title, error.detail].filter(Boolean).join(": ") : "";
  return { title: page.words.problemTitle(error.status), text: said || wait || page.words.problemHint(error.status) };
}

/** A part that is asked for, shown when it came, and asked for again at will. */
export class Part<T> {
  readonly element = element("div", { class: "part", "aria-busy": "true" });
  private readonly desk: Desk;
  private readonly ask: (signal: AbortSignal) => Promise<T>;
  private readonly show: (told: T) => Child[];
  private readonly closing = new AbortController();

  constructor(desk: Desk, ask: (signal: AbortSignal) => Promise<T>, show: (told: T) => Child[]) {
    this.desk = desk;
    this.ask = ask;
    this.show = show;
    this.element.append(element("p", { class: "summary" }, `${desk.words.loading} …`));
    void this.again();
  }

  /** Asks again; what is shown stays until the answer is there. */
  async again(): Promise<void> {
    try {
      const told = await this.ask(this.closing.signal);
      const held = this.focused();
      this.element.replaceChildren(...this.show(told).filter((one): one is Node | string => Boolean(one)));
      if (held !== null) this.refocus(held);
    } catch (error) {
      if (this.closing.signal.aborted) return;
      const said = asProblem(error);
      const { words } = this.desk.page;
      this.element.replaceChildren(trouble(said, words, false, () => void this.again()));
    } finally {
      this.element.removeAttribute("aria-busy");
    }
  }

  close(): void {
    this.closing.abort();
  }

  /** What has the focus in here, by its name: a list that is drawn anew must not throw a keyboard out. */
  private focused(): string | null {
    const held = document.activeElement;
    return held !== null && this.element.contains(held) ? nameOf(held) : null;
  }

  private refocus(name: string): void {
    const again = [...this.element.querySelectorAll<HTMLElement>("a, button, select, input, summary")];
    again.find((one) => nameOf(one) === name)?.focus({ preventScroll: true });
  }
}

const nameOf = (one: Element): string =>
  [one.tagName, one.getAttribute("href"), one.getAttribute("aria-label") ?? one.textContent].join(" ");

interface Listed<T> {
  results: T[];
  meta: { next: string | null };
}

/** The whole of a list, page after page; `most` entries are enough for anybody to look at. */
export async function all<T>(path: string, signal: AbortSignal, most = 10_000): Promise<T[]> {
  const found: T[] = [];
  let cursor: string | null = null;
  do {
    const part: Listed<T> = await onePage<T>(path, cursor, signal);
    found.push(...part.results);
    cursor = part.meta.next;
  } while (cursor !== null && found.length < most);
  return found;
}

/** One page of a list, behind a cursor. */
export function onePage<T>(path: string, cursor: string | null, signal?: AbortSignal, limit = 1000): Promise<Listed<T>> {
  const [address = "", given] = path.split("?");
  const query = new URLSearchParams(given);
  query.set("limit", String(limit));
  if (cursor !== null) query.set("cursor", cursor);
  return request<Listed<T>>("GET", `${address}?${query.toString()}`, { signal });
}
