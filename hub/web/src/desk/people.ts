// Somebody who signs in, comes back, goes or is sent away -> the frame says who, and offers what they may do.
import { askThrough } from "../api.ts";
import type { Frame } from "../frame.ts";
import { signedInBefore } from "../hint.ts";
import { LANGUAGES, type Tag } from "../strings/language.ts";
import { offered } from "./may.ts";
import { requestThrough } from "./request.ts";
import { type Account, Session } from "./session.ts";
import type { DeskWords } from "./strings/words.ts";

export interface Host {
  frame(): Frame;
  tag(): Tag;
  /** Somebody else, or nobody any more: what is held was for another's eyes. */
  other(): void;
}

export class People {
  readonly session: Session;
  private readonly host: Host;
  private words: DeskWords | null = null;
  private ended = false;
  private known = false;
  private person: number | undefined;

  constructor(host: Host) {
    this.host = host;
    this.session = new Session((account, ended) => this.became(account, ended), signedInBefore());
    requestThrough(this.session);
  }

  /** Who is there is known, as far as the hub can be reached. */
  static async open(host: Host): Promise<People> {
    const made = new People(host);
    await Promise.all([made.session.token(), made.dress()]);
    made.known = true;
    return made;
  }

  /** Says it in the frame: the one that is there now, in its language. */
  async dress(): Promise<void> {
    this.words = await LANGUAGES[this.host.tag()].desk();
    this.show();
  }

  private show(): void {
    const { words } = this;
    if (words === null) return;
    const { account } = this.session;
    const frame = this.host.frame();
    frame.person(
      offered(account).map((name) => [`/${name}`, words[name]]),
      account === null ? null : account.name || account.email,
    );
    frame.notice(this.ended ? words.sessionEnded : null);
  }

  private became(account: Account | null, ended: boolean): void {
    this.ended = ended;
    this.show();
    if (account?.id === this.person) return;
    this.person = account?.id;
    if (this.known) this.host.other();
  }
}

export function open(host: Host): Promise<People> {
  const people = People.open(host);
  askThrough(people.then(({ session }) => session, () => null));
  return people;
}
