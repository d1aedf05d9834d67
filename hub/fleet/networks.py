"""Networks: who owns gateways and stations, how their data may be used; their members. And whose a thing is that a route names.

What somebody may not see and what does not exist answer alike, and are found out alike.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, Row, Table, delete, exists, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from hub import problems
from hub.auth.guard import Policy, guard
from hub.auth.rights import everywhere
from hub.auth.tokens import RANKS, Caller, NetworkRole
from hub.database.tables import account, gateway, membership, network, sensor, station
from hub.fleet.visibility import insider, now, visible
from hub.problems import Problem

DEFAULT = "default"
"""The network that a gateway enrolled from the shell belongs to."""


class Network(Struct, frozen=True):
    """`visibility`: what its new stations get. `licence`: an SPDX id or a name; `attribution`: whom to name.

    `embargo_s`: younger data are for members only. `stations`: how many of them the caller may see; `role`: theirs here.
    """

    id: int
    slug: str
    name: str
    visibility: str
    licence: str | None
    attribution: str | None
    embargo_s: int
    stations: int
    role: str | None


class Member(Struct, frozen=True):
    """A person who belongs to a network: viewer, operator or admin there."""

    account: int
    email: str
    name: str
    role: str


def networks(
    connection: Connection, caller: Caller | None, *, after: int = 0, limit: int | None = None, only: int | None = None
) -> list[Network]:
    """Those that the caller belongs to, and those with something that they may see; by id. `only`: at most this one."""
    shown = (station.c.network == network.c.id, station.c.closed_ms.is_(None), visible(caller))
    counted = select(func.count()).select_from(station).where(*shown).scalar_subquery()
    asked = select(network, counted.label("stations")).where(network.c.id > after).order_by(network.c.id).limit(limit)
    asked = asked.where(or_(insider(caller, network.c.id), exists(select(1).select_from(station).where(*shown))))
    if only is not None:
        asked = asked.where(network.c.id == only)
    mine: Mapping[int, NetworkRole] = (caller.networks if caller is not None else None) or {}
    return [_network(row, mine.get(row.id)) for row in connection.execute(asked)]


def add(connection: Connection, values: Mapping[str, Any]) -> int:
    """A new network's id. Raises Problem when the slug is taken."""
    if connection.execute(select(network.c.id).where(network.c.slug == values["slug"])).first() is not None:
        raise Problem(problems.NAME_TAKEN, f"there is a network {values['slug']} already")
    made = connection.execute(insert(network).values(**values, created_ms=now()))
    return int(made.inserted_primary_key[0])  # type: ignore[index]  # an insert of one row has one key


def change(connection: Connection, number: int, values: Mapping[str, Any]) -> None:
    if values:
        connection.execute(update(network).where(network.c.id == number).values(**values))


def remove(connection: Connection, row: Row[Any]) -> None:
    """An empty network goes, with its memberships. Raises Problem for one with gateways, stations or sensors."""
    if row.slug == DEFAULT:
        raise Problem(problems.IN_USE, "gateways that are enrolled from the hub's shell come into this network")
    for table in (gateway, station, sensor):
        if connection.execute(select(table.c.id).where(table.c.network == row.id).limit(1)).first() is not None:
            raise Problem(problems.IN_USE, f"it has a {table.name} still")
    connection.execute(delete(membership).where(membership.c.network == row.id))
    connection.execute(delete(network).where(network.c.id == row.id))


def members(connection: Connection, number: int, *, after: int = 0, limit: int | None = None) -> list[Member]:
    """By account."""
    asked = (
        select(account.c.id, account.c.email, account.c.name, membership.c.role)
        .join(membership, membership.c.account == account.c.id)
        .where(membership.c.network == number, account.c.id > after)
        .order_by(account.c.id)
        .limit(limit)
    )
    return [Member(*row) for row in connection.execute(asked)]


def join(connection: Connection, number: int, email: str, role: NetworkRole, *, proved: bool = False) -> Member:
    """The person of this address becomes a member. Raises Problem for an address without an account, or one who is a member.

    `proved`: only who has shown that the address is theirs, where the hub can ask for that: anybody can register any address.
    """
    found = connection.execute(select(account).where(account.c.email == email, account.c.disabled_ms.is_(None))).one_or_none()
    if found is None:
        raise Problem(problems.NOT_FOUND, "nobody has an account with this address")
    if proved and found.verified_ms is None:
        raise Problem(problems.NOT_FOUND, "whoever has an account with this address has not shown yet that it is theirs")
    if _role(connection, number, found.id) is not None:
        raise Problem(problems.NAME_TAKEN, "they are a member already; change their role instead")
    connection.execute(insert(membership).values(account=found.id, network=number, role=role.value))
    return Member(found.id, found.email, found.name, role.value)


def appoint(connection: Connection, caller: Caller | None, number: int, person: int, role: NetworkRole | None) -> str:
    """A member's new role, None to let them go; returns the one they had. Raises Problem: no member, or the last admin."""
    before = _role(connection, number, person)
    if before is None:
        raise Problem(problems.NOT_FOUND)
    if before == NetworkRole.ADMIN and role is not NetworkRole.ADMIN and not everywhere(caller):
        admins = select(membership.c.account).where(membership.c.network == number, membership.c.role == NetworkRole.ADMIN.value)
        if len(connection.execute(admins.with_for_update()).all()) < 2:
            raise Problem(problems.LAST_NETWORK_ADMIN)
    mine = (membership.c.network == number, membership.c.account == person)
    if role is None:
        connection.execute(delete(membership).where(*mine))
    else:
        connection.execute(update(membership).where(*mine).values(role=role.value))
    return before


def owned(
    connection: Connection, caller: Caller | None, table: Table, number: int | str, least: NetworkRole, *, hold: bool = False
) -> Row[Any]:
    """A row of a table whose `network` the caller has at least this role in; a gateway by its name.

    Raises Problem: 404 for none and for another network's, 403 for too low a role. `hold`: nobody changes it before the commit.
    """
    key = table.c.name if isinstance(number, str) else table.c.id
    asked = select(table).where(key == number)
    row = connection.execute(asked.with_for_update() if hold else asked).one_or_none()
    if row is None:
        raise Problem(problems.NOT_FOUND)
    guard(caller, Policy.AUTHENTICATED, row.id if table is network else row.network, least=least)
    return row


def reach(caller: Caller | None, least: NetworkRole) -> list[int] | None:
    """The networks where a caller has at least this role; None for all. Raises Problem for nobody and for none."""
    guard(caller, Policy.AUTHENTICATED)
    if everywhere(caller):
        return None
    found = [number for number, role in ((caller and caller.networks) or {}).items() if RANKS[role] >= RANKS[least]]
    if not found:
        raise Problem(problems.FORBIDDEN)
    return found


@contextmanager
def unique(what: str) -> Iterator[None]:
    """Around a transaction: another one took the name a moment ago. Raises Problem."""
    try:
        yield
    except IntegrityError as error:
        raise Problem(problems.NAME_TAKEN, f"there is a {what} of this name already") from error


def _role(connection: Connection, number: int, person: int) -> str | None:
    asked = select(membership.c.role).where(membership.c.network == number, membership.c.account == person)
    found: str | None = connection.execute(asked.with_for_update()).scalar()
    return found


def _network(row: Row[Any], role: NetworkRole | None) -> Network:
    return Network(
        id=row.id,
        slug=row.slug,
        name=row.name or row.slug,
        visibility=row.visibility,
        licence=row.licence,
        attribution=row.attribution,
        embargo_s=row.embargo_s,
        stations=row.stations,
        role=None if role is None else role.value,
    )
