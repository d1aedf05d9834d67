// What a view is: an element with a title that is told what changes, and what the page gives it.
import type { LiveSample, Station } from "./api.ts";
import type { Session } from "./desk/session.ts";
import type { Fleet } from "./fleet.ts";
import type { Words } from "./strings/words.ts";

export interface View {
  readonly element: HTMLElement;
  title(): string;
  /** The query of the address changed, the path did not. */
  asked?(search: URLSearchParams): void;
  /** A snapshot came, or one station changed. */
  changed?(station: Station | null): void;
  sample?(sample: LiveSample): void;
  /** Samples may have been missed; `whole`: or what is held may be wrong. */
  missed?(whole: boolean): void;
  close?(): void;
}

export interface Page {
  readonly words: Words;
  readonly fleet: Fleet;
  /** A snapshot has come at least once. */
  loaded(): boolean;
  go(path: string): void;
  /** Who is signed in, once that is known. */
  session(): Promise<Session>;
  /** The secret of the link that led here, null for none. */
  handed(): string | null;
  retitle(): void;
}
