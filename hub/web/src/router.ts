// An address in; the view that it names out. Clicks on our own links and the back button stay inside the page.

export type Route =
  | { name: "stations" }
  | { name: "station"; id: number }
  | { name: "about" }
  | { name: "desk" }
  | { name: "notfound" };

const DESK = /^\/(signin|register|forgot|reset|verify|setup|account|users|networks|gateways|audit)(\/|$)/;

/** Null: not the page's, the hub answers it. */
export function match(path: string): Route | null {
  if (path === "/" || path === "/index.html" || path === "/stations" || path === "/stations/") return { name: "stations" };
  if (path === "/about") return { name: "about" };
  const station = /^\/stations\/([0-9]{1,15})\/?$/.exec(path);
  if (station) return { name: "station", id: Number(station[1]) };
  if (DESK.test(path)) return { name: "desk" };
  return /^\/(api|api-docs|openapi\.json|health|ready|metrics|problems)(\/|$)/.test(path) ? null : { name: "notfound" };
}

/** `#/reset?token=..` of a mailed link: where it leads, and the secret that must not stay in the address. */
export function handed(hash: string): { path: string; token: string | null } | null {
  const found = /^#(\/(?:reset|verify|setup|forgot))(\?.*)?$/.exec(hash);
  return found && { path: found[1] ?? "", token: new URLSearchParams(found[2] ?? "").get("token") };
}

/** Calls `arrived` for every change of the address; returns how to go somewhere. */
export function follow(arrived: (address: URL, back: boolean) => void): (path: string) => void {
  const go = (path: string) => {
    if (path !== location.pathname + location.search) history.pushState(null, "", path);
    arrived(new URL(location.href), false);
  };
  addEventListener("popstate", () => arrived(new URL(location.href), true));
  document.addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    if (!link || link.target !== "" || link.origin !== location.origin || link.hash !== "" || match(link.pathname) === null)
      return;
    event.preventDefault();
    go(link.pathname + link.search);
  });
  return go;
}
