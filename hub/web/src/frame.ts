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
  private readonly links: HTMLAnchorElement[];
  private readonly tongues: HTMLAnchorElement[];

  constructor(words: Words) {
    this.words = words;
    this.links = [element("a", { href: "/" }, words.stations), element("a", { href: "/about" }, words.about)];
    this.tongues = Object.entries(LANGUAGES).map(([tag, { name }]) =>
      element("a", { hreflang: tag, lang: tag, "aria-current": tag === words.tag && "true" }, name),
    );
    document.documentElement.lang = words.tag;
    document.body.replaceChildren(this.header(), this.trouble, this.main, this.footer());
  }

  /** Marks where we are, and lets the languages lead to the same place. */
  arrived(address: URL): void {
    for (const link of this.links) {
      if (link.pathname === address.pathname) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    for (const tongue of this.tongues) {
      const search = new URLSearchParams(address.search);
      search.set("lang", tongue.hreflang);
      tongue.href = `${address.pathname}?${search.toString()}`;
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
    const navigation = element("nav", { "aria-label": words.navigation }, ...this.links);
    return element(
      "header",
      { class: "top" },
      element("a", { class: "skip", href: "#content" }, words.skipToContent),
      name,
      navigation,
      this.state,
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
