"""A caller and a network in; whether they have a role there out. Pure, and without the web: a shell command asks too."""

from hub.auth.tokens import RANKS, Caller, NetworkRole, Role


def everywhere(caller: Caller | None) -> bool:
    """Whether a caller is an admin of the hub itself."""
    return caller is not None and caller.role is Role.ADMIN and caller.networks is None


def member(caller: Caller | None, network: int) -> bool:
    """Whether a caller belongs to a network and may see what is private there."""
    return may(caller, network, NetworkRole.VIEWER)


def may(caller: Caller | None, network: int, least: NetworkRole) -> bool:
    """Whether a caller has this role or a higher one in a network. A hub's admin has every role in all."""
    if caller is None or caller.gateway is not None:
        return False
    if caller.networks is None:
        return caller.role is Role.ADMIN or least is NetworkRole.VIEWER
    role = caller.networks.get(network)
    return role is not None and RANKS[role] >= RANKS[least]
