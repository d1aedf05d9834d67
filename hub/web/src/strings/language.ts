// The address, what was chosen before and the browser's wish in; one language's words out.
import { en } from "./en.ts";
import { fr } from "./fr.ts";
import type { Words } from "./words.ts";

export type { Words } from "./words.ts";

export const LANGUAGES: Record<string, Words> = { en, fr };
const REMEMBERED = "harmattan.language";

let chosen = "";

function remembered(): string | null {
  try {
    return localStorage.getItem(REMEMBERED);
  } catch {
    return null; // storage is forbidden: the choice lasts as long as the page
  }
}

/** `?lang=` wins and is remembered; then what was remembered; then the browser's languages; then English. */
export function language(search: URLSearchParams): Words {
  const asked = search.get("lang");
  if (asked !== null && asked in LANGUAGES) {
    chosen = asked;
    try {
      localStorage.setItem(REMEMBERED, asked);
    } catch {
      // as above
    }
  }
  const wishes = [chosen, remembered() ?? "", ...navigator.languages.map((wish) => wish.slice(0, 2).toLowerCase()), "en"];
  const tag = wishes.find((wish) => wish in LANGUAGES) ?? "en";
  return LANGUAGES[tag] ?? en;
}
