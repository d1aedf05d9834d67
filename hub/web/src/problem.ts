// A Problem in; what went wrong and what to do about it as an element out.
import { Problem } from "./api.ts";
import { element } from "./dom.ts";
import type { Words } from "./strings/words.ts";

export const asProblem = (error: unknown): Problem => (error instanceof Problem ? error : new Problem(0, "", String(error)));

/** `kept`: values are still shown below, so say that they are the last. */
export function problem(error: Problem, words: Words, kept: boolean, again: () => void): HTMLElement {
  const button = element("button", { type: "button" }, words.tryAgain);
  button.addEventListener("click", again);
  const said = error.status > 0 && error.detail !== "" ? element("p", { class: "said" }, error.detail) : null;
  return element(
    "div",
    { class: "problem", "data-problem": error.status },
    element("h2", {}, words.problemTitle(error.status)),
    said,
    element("p", {}, words.problemHint(error.status), kept && ` ${words.keptValues}`),
    button,
  );
}
