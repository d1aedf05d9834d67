// The refresh cookie in; who is signed in and the access token out. The token is in the memory of this page and of its other
// tabs, nowhere else: the cookie is HttpOnly, and what is stored is only that somebody signed in here.
import { type Asker, Problem, send, type Source } from "../api.ts";
import { remember } from "../hint.ts";
import { init, kindOf, plainly } from "./request.ts";
import { Stream } from "./stream.ts";

export type NetworkRole = "viewer" | "operator" | "admin";

export interface Account {
  id: number;
  email: string;
  name: string;
  role: "authenticated" | "admin";
  email_verified: boolean;
  totp: boolean;
  created: string;
  networks: { id: number; slug: string; name: string; role: NetworkRole }[];
}

export interface SignedIn {
  access_token: string;
  expires_in: number;
  account: Account;
}

interface Held {
  account: Account;
  token: string;
  /** When the token ends, by this device's clock [Unix ms]. */
  ends: number;
}

/** What tabs tell each other: who is signed in now, null for nobody; `ended`: somebody else's doing. */
interface Told {
  held: Held | null;
  ended: boolean;
}

const SHARED = "harmattan.session";
/** A token is renewed a little before it ends, so that a slow request does not arrive with a dead one. */
const EARLY_MS = 20_000;

const bearing = (token: string | null, init: RequestInit): RequestInit =>
  token === null ? init : { ...init, headers: { ...init.headers, Authorization: `Bearer ${token}` } };

export class Session implements Asker {
  private held: Held | null = null;
  private renewing: Promise<void> | null = null;
  /** Nobody has been heard of yet, but somebody signed in here before. */
  private open: boolean;
  private readonly tabs = "BroadcastChannel" in globalThis ? new BroadcastChannel(SHARED) : null;
  private readonly changed: (account: Account | null, ended: boolean) => void;

  /** `changed` hears who is signed in from now on, and whether somebody was signed out without having asked for it. */
  constructor(changed: (account: Account | null, ended: boolean) => void, open: boolean) {
    this.changed = changed;
    this.open = open;
    this.tabs?.addEventListener("message", ({ data }: MessageEvent<Told>) => this.hold(data.held, data.ended));
  }

  get account(): Account | null {
    return this.held?.account ?? null;
  }

  async token(): Promise<string | null> {
    // Somebody may have come back: the cookie says who. A hub that cannot be reached leaves it open.
    if (this.open) await this.renew(null).catch(() => undefined);
    else if (this.held !== null && Date.now() > this.held.ends - EARLY_MS) await this.renew(this.held.token);
    return this.held?.token ?? null;
  }

  /** A refused token is renewed once and the request sent once more. */
  async ask<T>(path: string, init: RequestInit): Promise<T> {
    const token = await this.token();
    try {
      return await send<T>(path, bearing(token, init));
    } catch (error) {
      if (token === null || !(error instanceof Problem) || error.status !== 401 || kindOf(error) !== "unauthorized") throw error;
      await this.renew(token);
      return send<T>(path, bearing(this.held?.token ?? null, init));
    }
  }

  /** With what only members may see; the browser's own stream for everybody else. */
  listen(url: string): Source {
    return this.held === null ? new EventSource(url) : new Stream((signal) => this.streamed(url, signal));
  }

  /** Throws Problem: `login-failed`, `code-required`. */
  async signIn(given: { email: string; password: string; code?: string }): Promise<Account> {
    const came = this.came(await plainly<SignedIn>("POST", "/auth/login", { ...given, cookie: true }));
    this.tell(came, false);
    return came.account;
  }

  async signOut(): Promise<void> {
    await send("/auth/logout", bearing(this.held?.token ?? null, init("POST", { body: {} }))).catch((error: unknown) => {
      if (!(error instanceof Problem) || error.status !== 401) throw error; // 401: it is over already
    });
    this.tell(null, false);
  }

  /** The account was changed here: what a view was told is what all know. */
  became(account: Account): void {
    if (this.held !== null) this.tell({ ...this.held, account }, false);
  }

  private async streamed(url: string, signal: AbortSignal): Promise<Response> {
    const token = await this.token();
    const answer = await fetch(url, bearing(token, { signal, cache: "no-store" }));
    if (answer.status !== 401 || token === null) return answer;
    await this.renew(token);
    return fetch(url, bearing(this.held?.token ?? null, { signal, cache: "no-store" }));
  }

  /** One refresh for all who ask: in this tab by the promise, over tabs by a lock where the browser has one. */
  private renew(refused: string | null): Promise<void> {
    this.renewing ??= this.alone(async () => {
      if (this.held !== null && this.held.token !== refused) return; // another tab was first
      try {
        this.tell(this.came(await plainly<SignedIn>("POST", "/auth/refresh", {})), false);
      } catch (error) {
        if (!(error instanceof Problem) || error.status !== 401) throw error;
        this.tell(null, this.held !== null);
      }
    }).finally(() => {
      this.renewing = null;
    });
    return this.renewing;
  }

  /** Without a secure context there are no locks: the hub answers two refreshes within seconds alike. */
  private async alone(renew: () => Promise<void>): Promise<void> {
    const { locks } = navigator as { locks?: LockManager };
    if (locks === undefined) await renew();
    else await locks.request(SHARED, renew);
  }

  private came(answer: SignedIn): Held {
    return { account: answer.account, token: answer.access_token, ends: Date.now() + answer.expires_in * 1000 };
  }

  private tell(held: Held | null, ended: boolean): void {
    this.tabs?.postMessage({ held, ended } satisfies Told);
    this.hold(held, ended);
  }

  private hold(held: Held | null, ended: boolean): void {
    const before = JSON.stringify(this.account);
    this.held = held;
    this.open = false;
    remember(held !== null);
    if (JSON.stringify(this.account) !== before) this.changed(this.account, ended);
  }
}
