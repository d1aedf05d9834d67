// An account in; what the page offers it out. The hub decides what it may: here it is only not shown what it may not.
import type { Account, NetworkRole } from "./session.ts";

const RANKS: Record<NetworkRole, number> = { viewer: 0, operator: 1, admin: 2 };

/** Of the hub itself: users, all networks, the whole audit. */
export const isAdmin = (account: Account | null): boolean => account?.role === "admin";

/** Whether somebody has this role or a higher one in a network; `undefined`: in any. */
export function may(account: Account | null, least: NetworkRole, network?: number): boolean {
  if (account === null) return false;
  if (isAdmin(account)) return true;
  return account.networks.some(({ id, role }) => (network === undefined || id === network) && RANKS[role] >= RANKS[least]);
}

/** The addresses that the navigation offers beside the public ones. */
export function offered(account: Account | null): ("gateways" | "networks" | "users" | "audit")[] {
  if (isAdmin(account)) return ["gateways", "networks", "users", "audit"];
  if (may(account, "admin")) return ["gateways", "networks", "audit"];
  if (may(account, "operator")) return ["gateways", "networks"];
  return may(account, "viewer") ? ["networks"] : [];
}
