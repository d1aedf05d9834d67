"""Who did what to which object in; one entry of an append-only chain out, and a verdict over the whole chain.

Each entry's hash covers the one before it (docs/audit.md): what was changed, taken out or put in between is found by `verify`,
what was cut off at the end by a head that the log told. The database itself refuses to change or delete an entry.
"""

import json
import logging
import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from time import time_ns
from typing import Any, Protocol

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Row, insert, select, text

from hub.database import tables

log = logging.getLogger("hub.audit")
FIRST = "0" * 64
"""What stands as the previous hash in the first entry."""
LOCK = 0x4861726D_0004
"""The advisory lock under which ids are drawn (PostgreSQL), held to the commit: the chain has one order and no gap."""
_SECRET = re.compile(r"password|secret|token|cookie|credential|link|totp|hash|(^|_)keys?$|(^|_)codes?$", re.IGNORECASE)


class Named(Protocol):
    """Whoever has a name for the log: a Caller."""

    @property
    def audit_name(self) -> str: ...


class Head(Struct, frozen=True):
    """The newest entry; id 0 and FIRST before there is any."""

    id: int
    hash: str


class Verified(Struct, frozen=True):
    """`entries` that are whole, up to `head`. `broken_at`: the id of the first that is not, and `why`; None when all are."""

    entries: int
    head: str
    broken_at: int | None = None
    why: str = ""


def record(
    connection: Connection,
    actor: Named | str | None,
    action: str,
    object: str,
    *,
    network: int | None = None,
    address: str | None = None,
    **detail: Any,
) -> None:
    """Appends an entry to the caller's write transaction: both are committed, or neither is. Call it as the last statement.

    `action` is `noun.verb`, `object` is `kind:id`, like `gateway:unilag-01`. On PostgreSQL the lock that this takes is held to
    the commit, so that whoever writes after it makes all others wait. Raises ValueError for a text in `detail` that is named like
    a secret: that is a mistake of ours, found by the first test that gets there.
    """
    _refuse_secrets(detail)
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
    before = head(connection)
    entry: dict[str, Any] = {
        "id": before.id + 1,
        "time_ms": time_ns() // 1_000_000,
        "actor": _clean(_name(actor)),
        "address": None if address is None else _clean(address),
        "action": action,
        "object": _clean(object),
        "network": network,
        "detail": json.dumps(detail, separators=(",", ":"), default=msgspec.to_builtins),  # ASCII: any text stays storable
        "previous": before.hash,
    }
    connection.execute(insert(tables.audit).values(**entry, hash=hash_of(entry)))


def head(connection: Connection) -> Head:
    """The newest entry's id and hash."""
    row = tables.audit.c
    found = connection.execute(select(row.id, row.hash).order_by(row.id.desc()).limit(1)).one_or_none()
    return Head(0, FIRST) if found is None else Head(found.id, found.hash)


def verify(connection: Connection, *, seen: str | None = None) -> Verified:
    """Goes through the whole chain. `seen`: a head that the log told; it must be in the chain, else the end was cut off."""
    rows = connection.execution_options(yield_per=1000).execute(select(tables.audit).order_by(tables.audit.c.id))
    found, heads = chain(rows, seen)
    if found.broken_at is None and not heads:
        why = "the head that was asked for is not in the chain: its end was cut off, or it is another hub's"
        return Verified(found.entries, found.head, found.entries + 1, why)
    return found


def chain(rows: Iterable[Row[Any]], seen: str | None = None) -> tuple[Verified, bool]:
    """What the entries, in order of their ids, say together; and whether one of them has the hash `seen` (true for None)."""
    entries, previous, met = 0, FIRST, seen in (None, FIRST)
    for row in rows:
        entry = row._mapping
        if row.id != entries + 1:
            return Verified(entries, previous, entries + 1, f"entry {entries + 1} is missing: {row.id} follows {entries}"), met
        if row.previous != previous:
            return Verified(entries, previous, row.id, f"entry {row.id} does not follow the one before it"), met
        if row.hash != hash_of(entry):
            return Verified(entries, previous, row.id, f"entry {row.id} was changed: its hash is another"), met
        entries, previous = row.id, row.hash
        met = met or previous == seen
    return Verified(entries, previous), met


def hash_of(entry: Mapping[Any, Any]) -> str:
    """SHA-256 over an entry's canonical bytes: compact JSON of its other columns, in this order (docs/audit.md)."""
    names = ("id", "time_ms", "actor", "address", "action", "object", "network", "detail", "previous")
    canonical = json.dumps([entry[name] for name in names], ensure_ascii=False, separators=(",", ":"))
    return sha256(canonical.encode()).hexdigest()


def tell_head(connection: Connection) -> None:
    """Writes the head to the log, out of reach of whoever can write to the database only."""
    newest = head(connection)
    log.info("audit head id=%d hash=%s", newest.id, newest.hash)


def _name(actor: Named | str | None) -> str:
    return "anybody" if actor is None else actor if isinstance(actor, str) else actor.audit_name


def _clean(given: str) -> str:
    """A text that both databases can store."""
    return given.encode("utf-8", "replace").decode().replace("\0", "?")


def _refuse_secrets(detail: Any) -> None:
    """Numbers and truths may have any name: `key=7` is an id, `totp=True` a state."""
    if isinstance(detail, Mapping):
        for name, value in detail.items():
            if isinstance(value, str | bytes | list | tuple) and _SECRET.search(str(name)):
                raise ValueError(f"the audit log keeps no secrets: '{name}'")
            _refuse_secrets(value)
    elif isinstance(detail, list | tuple):
        for value in detail:
            _refuse_secrets(value)
