"""The gateways that may speak, may not yet, or may no more; when each was last heard. Reads only."""

from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct
from sqlalchemy import Connection, Row, Select, func, select

from hub.answers import rfc3339
from hub.database.tables import gateway, latest, sensor

State = Literal["invited", "enrolled", "revoked"]


class Gateway(Struct, frozen=True):
    """Times are RFC 3339; `last_seen`: when the newest latest value of any of its sensors was received."""

    id: int
    name: str
    state: State
    key_version: int
    enrolled: str | None
    revoked: str | None
    last_seen: str | None
    sensors: int


def gateways(
    connection: Connection, *, networks: Sequence[int] | None = None, after: int = 0, limit: int | None = None
) -> list[Gateway]:
    """By id, those after one. `networks`: only of these."""
    asked = _asked().where(gateway.c.id > after).order_by(gateway.c.id).limit(limit)
    if networks is not None:
        asked = asked.where(gateway.c.network.in_(networks))
    return [_gateway(row) for row in connection.execute(asked)]


def named(connection: Connection, name: str) -> Gateway | None:
    row = connection.execute(_asked().where(gateway.c.name == name)).one_or_none()
    return None if row is None else _gateway(row)


def network_of(connection: Connection, name: str) -> int | None:
    """The network that owns a gateway, None when there is no such gateway."""
    return connection.execute(select(gateway.c.network).where(gateway.c.name == name)).scalar_one_or_none()


def _asked() -> Select[Any]:
    seen = (
        select(sensor.c.gateway, func.max(latest.c.received_ms).label("seen_ms"), func.count(sensor.c.id).label("sensors"))
        .join(latest, latest.c.sensor == sensor.c.id, isouter=True)
        .group_by(sensor.c.gateway)
        .subquery()
    )
    return select(gateway, seen.c.seen_ms, seen.c.sensors).join(seen, seen.c.gateway == gateway.c.id, isouter=True)


def _gateway(row: Row[Any]) -> Gateway:
    state: State = "revoked" if row.revoked_ms is not None else "enrolled" if row.enrolled_ms is not None else "invited"
    return Gateway(
        id=row.id,
        name=row.name,
        state=state,
        key_version=row.key_version,
        enrolled=_time(row.enrolled_ms),
        revoked=_time(row.revoked_ms),
        last_seen=_time(row.seen_ms),
        sensors=row.sensors or 0,
    )


def _time(unix_ms: int | None) -> str | None:
    return None if unix_ms is None else rfc3339(unix_ms)
