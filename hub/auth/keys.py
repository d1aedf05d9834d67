"""An owner and scopes in; an API key out, once; then its list, and its end. Keys of people and of gateways alike.

A key is 256 random bits as 64 hex digits. The database has its hash and its first six digits; `callers` finds its owner.
"""

import secrets
from collections.abc import Iterable
from time import time_ns
from typing import Any

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, update

from hub import problems
from hub.answers import rfc3339
from hub.auth.callers import Scope, key_hash
from hub.database.tables import account as account_table
from hub.database.tables import api_key
from hub.database.tables import gateway as gateway_table
from hub.problems import Problem

PER_OWNER = 50
HINT = 6
REVOKED_KEPT_MS = 90 * 86_400_000
"""So long a revoked key stays in the table, for whoever asks what a hint in an old log was."""


class ApiKey(Struct, frozen=True):
    """A key as its owner sees it later. `hint`: its first digits; `used`: its last use, not noted at each request."""

    id: int
    name: str
    scopes: list[str]
    hint: str
    created: str
    used: str | None
    expires: str | None


class NewKey(Struct, frozen=True):
    """A key just made. `key` is told this once and kept nowhere."""

    id: int
    name: str
    scopes: list[str]
    hint: str
    created: str
    used: str | None
    expires: str | None
    key: str


def issue(
    connection: Connection,
    *,
    name: str,
    scopes: Iterable[Scope | str],
    account: int | None = None,
    gateway: int | None = None,
    expires_ms: int | None = None,
    now_ms: int | None = None,
) -> tuple[int, str]:
    """A new key's id and the key, in a write transaction. Exactly one of `account` and `gateway` owns it.

    Raises Problem 409 when the owner has PER_OWNER already, ValueError for a scope that is none or for no scope at all.
    """
    wanted = sorted({Scope(scope).value for scope in scopes})
    if not wanted:
        raise ValueError("a key needs a scope")
    _hold_owner(connection, account, gateway)
    live = select(func.count()).select_from(api_key).where(_of(account, gateway), api_key.c.revoked_ms.is_(None))
    if connection.execute(live).scalar_one() >= PER_OWNER:
        raise Problem(problems.TOO_MANY_KEYS, f"there are {PER_OWNER} keys already; revoke one that is not used any more")
    key = secrets.token_hex(32)
    values: dict[str, Any] = {"name": name, "scopes": " ".join(wanted), "account": account, "gateway": gateway}
    values |= {"hash": key_hash(key), "hint": key[:HINT], "created_ms": _now_ms() if now_ms is None else now_ms}
    made = connection.execute(insert(api_key).values(values | {"expires_ms": expires_ms})).inserted_primary_key
    return int(made[0]), key  # type: ignore[index]  # an insert of one row has one key


def listed(connection: Connection, *, account: int | None = None, gateway: int | None = None) -> list[ApiKey]:
    """An owner's keys that were not revoked, the newest first; those that are over too."""
    asked = select(api_key).where(_of(account, gateway), api_key.c.revoked_ms.is_(None)).order_by(api_key.c.id.desc())
    return [
        ApiKey(
            row.id,
            row.name,
            row.scopes.split(),
            row.hint,
            rfc3339(row.created_ms),
            _time(row.used_ms),
            _time(row.expires_ms),
        )
        for row in connection.execute(asked)
    ]


def told(connection: Connection, number: int, key: str) -> NewKey:
    """What the answer to its making says."""
    row = connection.execute(select(api_key).where(api_key.c.id == number)).one()
    made, expires = rfc3339(row.created_ms), _time(row.expires_ms)
    return NewKey(row.id, row.name, row.scopes.split(), row.hint, made, None, expires, key)


def revoke(
    connection: Connection, number: int, *, account: int | None = None, gateway: int | None = None, now_ms: int | None = None
) -> bool:
    """Ends a key, within a second everywhere. False when this owner has none of that id that still lives."""
    whose = (api_key.c.id == number, _of(account, gateway), api_key.c.revoked_ms.is_(None))
    ended = update(api_key).where(*whose).values(revoked_ms=_now_ms() if now_ms is None else now_ms)
    return connection.execute(ended).rowcount == 1


def remove_over(connection: Connection, now_ms: int) -> int:
    """Keys that were revoked long ago. Returns how many."""
    return connection.execute(delete(api_key).where(api_key.c.revoked_ms < now_ms - REVOKED_KEPT_MS)).rowcount


def _hold_owner(connection: Connection, account: int | None, gateway: int | None) -> None:
    """Two requests at once count one after the other: PostgreSQL locks the owner's row, SQLite has one writer anyway."""
    owner, number = (account_table, account) if gateway is None else (gateway_table, gateway)
    connection.execute(select(owner.c.id).where(owner.c.id == number).with_for_update())


def _of(account: int | None, gateway: int | None) -> ColumnElement[bool]:
    if (account is None) == (gateway is None):
        raise ValueError("a key belongs to an account or to a gateway")
    return api_key.c.account == account if gateway is None else api_key.c.gateway == gateway


def _time(unix_ms: int | None) -> str | None:
    return None if unix_ms is None else rfc3339(unix_ms)


def _now_ms() -> int:
    return time_ns() // 1_000_000
