"""Refused rows in; table `reject` out, and a network's list of them. The newest are kept, each with the begin of what came."""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Struct
from sqlalchemy import Connection, delete, insert, select

from hub.answers import rfc3339
from hub.database.tables import gateway, reject

KEPT = 100_000
"""So many of each network."""
CONTENT_BYTES = 4096


class Reject(Struct, frozen=True):
    """A row that was not taken. `content`: what came, at most 4 KiB of it; `gateway`: null where none of yours was named."""

    id: int
    received: str
    gateway: str | None
    route: str
    sensor: str | None
    code: str
    why: str
    content: str


class Turned(NamedTuple):
    """A refused row before it is kept."""

    network: int
    gateway: int | None
    route: str
    sensor: str | None
    code: str
    why: str
    content: bytes


def keep(connection: Connection, refused: Sequence[Turned], received_ms: int, kept: int = KEPT) -> None:
    """In the caller's transaction. `kept`: how many of each network stay."""
    rows = [row._asdict() | {"content": text(row.content), "received_ms": received_ms} for row in refused]
    if rows:
        connection.execute(insert(reject), rows)
    for network in sorted({row.network for row in refused}):
        mine = select(reject.c.id).where(reject.c.network == network).order_by(reject.c.id.desc())
        oldest = mine.offset(kept).limit(1).scalar_subquery()
        connection.execute(delete(reject).where(reject.c.network == network, reject.c.id <= oldest))


def rejects(connection: Connection, network: int, *, before: int | None, limit: int) -> list[Reject]:
    """Of a network, the newest first; `before`: older than this id."""
    asked = select(reject, gateway.c.name).join(gateway, gateway.c.id == reject.c.gateway, isouter=True)
    asked = asked.where(reject.c.network == network).order_by(reject.c.id.desc()).limit(limit)
    if before is not None:
        asked = asked.where(reject.c.id < before)
    return [
        Reject(r.id, rfc3339(r.received_ms), r.name, r.route, r.sensor, r.code, r.why, r.content)
        for r in connection.execute(asked)
    ]


def text(content: bytes) -> str:
    """The begin of it as text that every database takes."""
    cut = content[:CONTENT_BYTES].decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
    return cut.encode("utf-8")[:CONTENT_BYTES].decode("utf-8", "ignore")
