// A secret or a line to paste in; a part that shows it, once, with a button that copies it.
import { element, setText } from "../dom.ts";
import type { Desk } from "./room.ts";

/** Without a secure context there is no clipboard: the old way copies what is selected. */
async function copied(field: HTMLTextAreaElement): Promise<boolean> {
  const { clipboard } = navigator as { clipboard?: Clipboard };
  if (clipboard !== undefined && (await clipboard.writeText(field.value).then(() => true, () => false))) return true;
  field.select();
  return document.execCommand("copy");
}

export function copyable(desk: Desk, label: string, text: string, name: string): HTMLElement {
  const { words } = desk;
  const rows = Math.min(Math.max(text.split("\n").length, Math.ceil(text.length / 44)), 10);
  const id = `shown-${name}`;
  const field = element("textarea", { id, readonly: true, rows, spellcheck: "false", "data-shown": name });
  field.value = text;
  field.addEventListener("focus", () => field.select());
  // How many lines it takes depends on the screen: nothing of it may be out of sight.
  requestAnimationFrame(() => (field.style.height = `${field.scrollHeight + 4}px`));
  const said = element("span", { role: "status" });
  const button = element("button", { type: "button", class: "quiet" }, words.copy);
  button.addEventListener("click", () => {
    void copied(field).then((done) => setText(said, done ? words.copied : words.copyByHand));
  });
  return element("div", { class: "field" }, element("label", { for: id }, label), field, element("div", { class: "foot" }, button, said));
}

/** What will not be shown again: it takes the focus, so that nobody leaves without it. */
export function once(desk: Desk, title: string, ...parts: (Node | string)[]): HTMLElement {
  const head = element("h2", { tabindex: -1 }, title);
  const made = element("section", { class: "panel once" }, head, element("p", {}, desk.words.shownOnce), ...parts);
  queueMicrotask(() => head.focus());
  return made;
}
