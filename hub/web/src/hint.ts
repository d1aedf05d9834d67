// Whether somebody signed in here before: then it is worth asking the hub who. No secret, and no proof of anything.

export const HINT = "harmattan.signed-in";

/** True where storage is forbidden: asking costs one request. */
export function signedInBefore(): boolean {
  try {
    return localStorage.getItem(HINT) !== null;
  } catch {
    return true;
  }
}

export function remember(signedIn: boolean): void {
  try {
    if (signedIn) localStorage.setItem(HINT, "1");
    else localStorage.removeItem(HINT);
  } catch {
    // storage is forbidden: each visit asks
  }
}
