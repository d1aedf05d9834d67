"""An address or an id in; a person's account out, as they and the hub's admins see it."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, Row, delete, func, insert, select

from hub.answers import rfc3339
from hub.auth.tokens import Role
from hub.database.tables import account, api_key, membership, network, one_time, recovery_code, refresh, session

LONGEST = 254
"""RFC 5321, 4.5.3.1.3, with the erratum."""
_ADDRESS = re.compile(r"[^@\s\"(),:;<>\[\]\\]{1,64}@[^@\s\"(),:;<>\[\]\\.]+(\.[^@\s\"(),:;<>\[\]\\.]+)*")


class Within(Struct, frozen=True):
    """A network that a person belongs to, and their role there."""

    id: int
    slug: str
    name: str
    role: str


class Account(Struct, frozen=True):
    """A person. `role`: in the hub as a whole; `networks`: where they are members."""

    id: int
    email: str
    name: str
    role: str
    email_verified: bool
    totp: bool
    created: str
    networks: list[Within]


class User(Struct, frozen=True):
    """A person as the hub's admins see them. `seen`: when a session of theirs was last renewed."""

    id: int
    email: str
    name: str
    role: str
    email_verified: bool
    totp: bool
    created: str
    networks: list[Within]
    disabled: bool
    seen: str | None


def normalised(email: str) -> str:
    """One spelling for one address: NFKC, trimmed, lower case. Raises ValueError."""
    made = unicodedata.normalize("NFKC", email).strip().lower()
    if len(made) > LONGEST or not _ADDRESS.fullmatch(made) or not made.isprintable():
        raise ValueError("it is no e-mail address; write it like ada@example.org")
    return made


def by_email(connection: Connection, email: str) -> Row[Any] | None:
    """The row of a normalised address."""
    return connection.execute(select(account).where(account.c.email == email)).one_or_none()


def by_id(connection: Connection, number: int) -> Row[Any] | None:
    return connection.execute(select(account).where(account.c.id == number)).one_or_none()


def add(connection: Connection, email: str, name: str, role: Role, password: str | None, now_ms: int) -> int:
    """A new account's id. IntegrityError when the address is taken: catch it outside of the transaction."""
    values = {"email": email, "name": name, "role": role.value, "password": password, "created_ms": now_ms}
    made = connection.execute(insert(account).values(values | {"password_ms": None if password is None else now_ms}))
    return int(made.inserted_primary_key[0])  # type: ignore[index]  # an insert of one row has one key


def account_view(connection: Connection, number: int) -> Account | None:
    row = by_id(connection, number)
    return None if row is None else Account(*_told(row), _networks(connection, [number]).get(number, []))


def users(connection: Connection, *, after: int = 0, limit: int = 100, only: int | None = None) -> list[User]:
    """Everybody by id, those after one; or one alone."""
    asked = select(account).where(account.c.id > after).order_by(account.c.id).limit(limit)
    if only is not None:
        asked = select(account).where(account.c.id == only)
    rows = connection.execute(asked).all()
    ids = [row.id for row in rows]
    within = _networks(connection, ids)
    last = select(session.c.account, func.max(session.c.seen_ms)).where(session.c.account.in_(ids)).group_by(session.c.account)
    seen: dict[int, int] = {row[0]: row[1] for row in connection.execute(last)}
    return [User(*_told(row), within.get(row.id, []), row.disabled_ms is not None, _time(seen.get(row.id))) for row in rows]


def is_last_admin(connection: Connection, number: int) -> bool:
    """Whether the hub would have no admin who can sign in without this one."""
    able = (account.c.role == Role.ADMIN.value, account.c.disabled_ms.is_(None))
    found = set(connection.execute(select(account.c.id).where(*able).with_for_update()).scalars())
    return found == {number}


def remove(connection: Connection, number: int) -> None:
    """All that is personal goes: the account, its sessions, keys and memberships. The audit log keeps the number."""
    mine = select(session.c.id).where(session.c.account == number)
    connection.execute(delete(refresh).where(refresh.c.session.in_(mine)))
    for table in (session, one_time, api_key, recovery_code, membership):
        connection.execute(delete(table).where(table.c.account == number))
    connection.execute(delete(account).where(account.c.id == number))


def _told(row: Row[Any]) -> tuple[int, str, str, str, bool, bool, str]:
    verified, totp = row.verified_ms is not None, row.totp_ms is not None
    return row.id, row.email, row.name, row.role, verified, totp, rfc3339(row.created_ms)


def _networks(connection: Connection, accounts: Sequence[int]) -> dict[int, list[Within]]:
    asked = select(membership.c.account, network.c.id, network.c.slug, network.c.name, membership.c.role)
    asked = asked.join(network, network.c.id == membership.c.network).where(membership.c.account.in_(accounts))
    found: dict[int, list[Within]] = {}
    rows: Iterable[Any] = connection.execute(asked.order_by(network.c.id))
    for owner, *told in rows:
        found.setdefault(owner, []).append(Within(*told))
    return found


def _time(unix_ms: int | None) -> str | None:
    return None if unix_ms is None else rfc3339(unix_ms)
