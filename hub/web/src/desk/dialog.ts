// A question in; yes or no out. The browser's own dialog: it holds the focus and ends with Escape.
import { element } from "../dom.ts";
import type { Desk } from "./room.ts";

export function sure({ words }: Desk, title: string, text: string, yes: string): Promise<boolean> {
  const no = element("button", { type: "button", class: "quiet" }, words.cancel);
  const go = element("button", { type: "button", class: "danger" }, yes);
  const dialog = element(
    "dialog",
    { "aria-labelledby": "dialog-title", "aria-describedby": "dialog-text" },
    element("h2", { id: "dialog-title" }, title),
    element("p", { id: "dialog-text" }, text),
    element("div", { class: "foot" }, go, no),
  );
  document.body.append(dialog);
  no.addEventListener("click", () => dialog.close());
  go.addEventListener("click", () => dialog.close("yes"));
  dialog.showModal();
  no.focus(); // what cannot be undone takes more than one key
  return new Promise((answer) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      answer(dialog.returnValue === "yes");
    });
  });
}
