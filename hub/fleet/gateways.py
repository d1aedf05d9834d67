"""The gateways that may speak, may not yet, or may no more, as operators see them; made and changed by people.

What the ledger knows of each (pending, gaps, lost) is filled in by the front, which stands above.
"""

from collections.abc import Mapping, Sequence
from time import time_ns
from typing import Any, Literal

from msgspec import Struct
from sqlalchemy import Connection, Row, Select, exists, func, insert, select

from hub import problems
from hub.answers import rfc3339
from hub.database.tables import gateway, latest, sensor, swap
from hub.fleet.completeness import HOURS, Completeness, Share
from hub.fleet.enrolment import new_token, note_visibility
from hub.problems import Problem

State = Literal["invited", "enrolled", "revoked"]
SILENT_MS = 65 * 60_000
"""A gateway says hello at least hourly: one that has not been heard for longer is not online."""


class Gateway(Struct, frozen=True):
    """A gateway and how it is doing. Times are RFC 3339.

    `last_seen`: its newest hello, or when the newest value of any of its sensors was received. `online`: heard within 65 minutes,
    and no good-bye since. `sensors`: in use. `pending`: rows that it has and the hub does not yet; `gaps`: holes among the rows
    that the hub has; `lost`: rows that will never come. `clock`, `version`: as its newest hello said.
    """

    id: int
    name: str
    network: int
    kind: str
    state: State
    key_version: int
    enrolled: str | None
    revoked: str | None
    last_seen: str | None
    online: bool
    sensors: int
    completeness: Share = Share(HOURS, None)
    version: str | None = None
    clock: str | None = None
    pending: int = 0
    gaps: int = 0
    lost: int = 0


class Invited(Struct, frozen=True):
    """`token` works once, until `expires`; `command` is the line to paste at the gateway. Null for kind push, which has keys."""

    gateway: Gateway
    token: str | None
    command: str | None
    expires: str | None


def gateways(
    connection: Connection,
    shares: Completeness | None = None,
    *,
    networks: Sequence[int] | None = None,
    after: int = 0,
    limit: int | None = None,
    name: str | None = None,
) -> list[Gateway]:
    """By id, those after one. `networks`: only of these. `name`: this one alone. `shares`: says how complete their data are."""
    asked = _asked().where(gateway.c.id > after).order_by(gateway.c.id).limit(limit)
    if networks is not None:
        asked = asked.where(gateway.c.network.in_(networks))
    if name is not None:
        asked = asked.where(gateway.c.name == name)
    rows = connection.execute(asked).all()
    found = {} if shares is None else shares.of(connection, [row.id for row in rows])
    now_ms = time_ns() // 1_000_000
    return [_gateway(row, now_ms, found.get(row.id)) for row in rows]


def add(connection: Connection, name: str, network: int, kind: str, visibility: str | None, now_ms: int) -> int:
    """A new gateway's id. One of kind push needs no enrolment. Raises Problem when the name is taken in this hub."""
    if connection.execute(select(gateway.c.id).where(gateway.c.name == name)).first() is not None:
        raise Problem(problems.NAME_TAKEN, f"there is a gateway {name} already")
    row: Mapping[str, Any] = {"name": name, "network": network, "kind": kind, "key_version": 0}
    enrolled_ms = now_ms if kind == "push" else None
    made = int(connection.execute(insert(gateway).values(**row, enrolled_ms=enrolled_ms).returning(gateway.c.id)).scalar_one())
    if visibility is not None:
        note_visibility(connection, made, visibility)
    return made


def invite(connection: Connection, row: Row[Any], now_ms: int) -> str:
    """A new one-time token. Raises Problem for a gateway that is enrolled, or needs none."""
    if row.kind == "push":
        raise Problem(problems.NOT_THIS_GATEWAY, "a gateway of kind push has keys: POST to its /keys")
    if row.enrolled_ms is not None and row.revoked_ms is None:
        raise Problem(problems.NOT_THIS_GATEWAY, "it is enrolled; revoke it first")
    return new_token(connection, row.id, now_ms=now_ms)


def _asked() -> Select[Any]:
    in_use = ~exists(select(1).where(swap.c.sensor == sensor.c.id))
    seen = (
        select(
            sensor.c.gateway,
            func.max(latest.c.received_ms).label("seen_ms"),
            func.count(sensor.c.id).filter(in_use).label("sensors"),
        )
        .join(latest, latest.c.sensor == sensor.c.id, isouter=True)
        .group_by(sensor.c.gateway)
        .subquery()
    )
    return select(gateway, seen.c.seen_ms, seen.c.sensors).join(seen, seen.c.gateway == gateway.c.id, isouter=True)


def _gateway(row: Row[Any], now_ms: int, share: Share | None) -> Gateway:
    state: State = "revoked" if row.revoked_ms is not None else "enrolled" if row.enrolled_ms is not None else "invited"
    seen_ms = max((at for at in (row.seen_ms, row.hello_ms) if at is not None), default=None)
    gone = row.bye_ms is not None and (row.hello_ms is None or row.bye_ms > row.hello_ms)
    online = state == "enrolled" and seen_ms is not None and now_ms - seen_ms < SILENT_MS
    return Gateway(
        id=row.id,
        name=row.name,
        network=row.network,
        kind=row.kind,
        state=state,
        key_version=row.key_version,
        enrolled=None if row.enrolled_ms is None else rfc3339(row.enrolled_ms),
        revoked=None if row.revoked_ms is None else rfc3339(row.revoked_ms),
        last_seen=None if seen_ms is None else rfc3339(seen_ms),
        online=online and not (gone and row.bye_ms >= (row.seen_ms or 0)),
        sensors=row.sensors or 0,
        completeness=share or Share(HOURS, None),
        version=row.version,
        clock=row.clock,
    )
