// Words -> the frame around every view: name, navigation, language, live state, trouble.
import type { Problem } from "./api.ts";
import { element, setText } from "./dom.ts";
import type { LiveState } from "./live.ts";
import { problem } from "./problem.ts";
import { LANGUAGES, type Words } from "./strings/language.ts";

export class Frame {
  readonly main = element("main", { id: "content", tabindex: -1 });
  private readonly words: Words;
  private readonly state = element("p", { class: "live", role: "status", "aria-live": "polite" });
  private readonly trouble = element("div", { role: "status", "aria-live": "polite" });
  private readonly notices = element("div", { role: "alert" });
  private readonly links = element("nav");
  private readonly who = element("a", { class: "person" });
  private here = "/";
  private readonly tongues: HTMLAnchorElement[];

  constructor(words: Words) {
    this.words = words;
    this.person([], null);
    this.tongues = Object.entries(LANGUAGES).map(([tag, { name }]) =>
      element("a", { hreflang: tag, lang: tag, "aria-current": tag === words.tag && "true" }, name),
    );
    document.documentElement.lang = words.tag;
    document.body.replaceChildren(this.header(), this.notices, this.trouble, this.main, this.footer());
  }

  /** Marks where we are, and lets the languages lead to the same place. */
  arrived(address: URL): void {
    this.here = address.pathname;
    this.mark();
    for (const tongue of this.tongues) {
      const search = new URLSearchParams(address.search);
      search.set("lang", tongue.hreflang);
      tongue.href = `${address.pathname}?${search.toString()}`;
    }
  }

  /** Who is signed in, null for nobody, and where they may go beside what all may see. */
  person(offered: [string, string][], name: string | null): void {
    const { words } = this;
    const paths = [["/", words.stations], ...offered, ["/about", words.about]];
    this.links.replaceChildren(...paths.map(([href, text]) => element("a", { href }, text)));
    this.who.href = name === null ? "/signin" : "/account";
    setText(this.who, name ?? words.signIn);
    this.mark();
  }

  /** One sentence that must not be missed; null takes it away. */
  notice(text: string | null): void {
    this.notices.replaceChildren(...(text === null ? [] : [element("p", { class: "notice" }, text)]));
  }

  private mark(): void {
    for (const link of [...this.links.querySelectorAll("a"), this.who]) {
      const under = link.pathname !== "/" && this.here.startsWith(`${link.pathname}/`);
      if (link.pathname === this.here) link.setAttribute("aria-current", "page");
      else if (under) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }

  live(state: LiveState): void {
    document.body.dataset.liveState = state;
    setText(this.state, this.words[state]);
    this.state.title = this.words.liveExplained[state];
  }

  problem(error: Problem | null, kept: boolean, again: () => void): void {
    if (error === null) this.trouble.replaceChildren();
    else this.trouble.replaceChildren(problem(error, this.words, kept, again));
  }

  private header(): HTMLElement {
    const { words } = this;
    const name = element(
      "a",
      { href: "/", class: "name" },
      element("img", { src: "/favicon.svg", alt: "", width: 32, height: 32 }),
      "Harmattan",
    );
    this.links.setAttribute("aria-label", words.navigation);
    return element(
      "header",
      { class: "top" },
      element("a", { class: "skip", href: "#content" }, words.skipToContent),
      name,
      this.links,
      this.state,
      this.who,
    );
  }

  private footer(): HTMLElement {
    const { words } = this;
    return element(
      "footer",
      {},
      element("p", {}, words.tagline),
      element("nav", { "aria-label": words.language }, ...this.tongues),
    );
  }
}
