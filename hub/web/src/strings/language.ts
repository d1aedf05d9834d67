// The address, what was chosen before and the browser's wish in; one language's words out. Only the language that is read is loaded.
import type { DeskWords } from "../desk/strings/words.ts";
import type { Words } from "./words.ts";

export type { Words } from "./words.ts";

export type Tag = "en" | "fr";

export const LANGUAGES: Record<Tag, { name: string; load: () => Promise<Words>; desk: () => Promise<DeskWords> }> = {
  en: {
    name: "English",
    load: async () => (await import("./en.ts")).en,
    desk: async () => (await import("../desk/strings/en.ts")).en,
  },
  fr: {
    name: "Français",
    load: async () => (await import("./fr.ts")).fr,
    desk: async () => (await import("../desk/strings/fr.ts")).fr,
  },
};
const REMEMBERED = "harmattan.language";

let chosen: Tag | null = null;

const isTag = (text: string | null): text is Tag => text !== null && Object.hasOwn(LANGUAGES, text);

function remembered(): string | null {
  try {
    return localStorage.getItem(REMEMBERED);
  } catch {
    return null; // storage is forbidden: the choice lasts as long as the page
  }
}

/** `?lang=` wins and is remembered; then what was remembered; then the browser's languages; then English. */
export function language(search: URLSearchParams): Tag {
  const asked = search.get("lang");
  if (isTag(asked)) {
    chosen = asked;
    try {
      localStorage.setItem(REMEMBERED, asked);
    } catch {
      // as above
    }
  }
  const wishes = [chosen, remembered(), ...navigator.languages.map((wish) => wish.slice(0, 2).toLowerCase())];
  return wishes.find(isTag) ?? "en";
}
