"""Sensors, a station and a time in; where each stood when out. The history of places: it grows, and never overlaps.

A move closes what was open and opens the other place at the same instant. What a gateway's file still says of its site does not
undo it: the deployment notes which station that was (`told`), and holds until the gateway names another one.
"""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, Row, insert, select, tuple_, update

from hub import problems
from hub.answers import rfc3339
from hub.auth.tokens import Caller
from hub.database.tables import cursor, deployment, sensor, station
from hub.fleet.visibility import now, visible
from hub.problems import Problem, invalid

AHEAD_MS = 60_000
"""So much may somebody's clock go before ours."""
WRITERS = ("latest", "samples", "settle")
"""Followers that write where a sensor stood, or by which id its rows go."""


class Deployment(Struct, frozen=True, rename={"from_": "from"}):
    """A sensor at a station [from, to); `to` null: it stands there now. `height_m`: of its inlet above the ground."""

    sensor: int
    station: int
    from_: str
    to: str | None
    height_m: float | None
    indoor: bool | None


def history(
    connection: Connection,
    caller: Caller | None,
    *,
    sensor_id: int | None = None,
    station_id: int | None = None,
    after: tuple[int, ...] | None = None,
    limit: int = 100,
) -> tuple[list[Deployment], tuple[int, int] | None]:
    """Of a sensor or at a station, the oldest first, only at stations that the caller may see; and where it goes on.

    `after`: (from [Unix ms], sensor) of the last one seen.
    """
    place, order = station.c.id == deployment.c.station, (deployment.c.from_ms, deployment.c.sensor)
    asked = select(deployment).join(station, place).where(visible(caller)).order_by(*order).limit(limit + 1)
    if sensor_id is not None:
        asked = asked.where(deployment.c.sensor == sensor_id)
    if station_id is not None:
        asked = asked.where(deployment.c.station == station_id)
    if after is not None:
        asked = asked.where(tuple_(*order) > tuple_(*after))
    rows = connection.execute(asked).all()
    last = (rows[limit - 1].from_ms, rows[limit - 1].sensor) if len(rows) > limit else None
    return [_told(row) for row in rows[:limit]], last


def since(from_ms: int | None) -> int:
    """The instant of a change, now unless told otherwise. Raises Problem for one that is still to come."""
    at = now()
    if from_ms is None:
        return at
    if from_ms > at + AHEAD_MS:
        raise invalid("from", f"{rfc3339(from_ms)} is still to come; what will be is no history", where="body")
    if from_ms < 0:
        raise invalid("from", "it lies before 1970", where="body")
    return from_ms


def hold(connection: Connection, sensor_ids: Sequence[int]) -> None:
    """Nobody else changes these histories until the commit: neither settle, nor another move, nor a swap.

    PostgreSQL: the followers' cursors first, as they take them, then the sensors in order. SQLite has one writer anyway.
    """
    connection.execute(
        select(cursor.c.follower).where(cursor.c.follower.in_(WRITERS)).order_by(cursor.c.follower).with_for_update()
    ).all()
    connection.execute(select(sensor.c.id).where(sensor.c.id.in_(sensor_ids)).order_by(sensor.c.id).with_for_update()).all()


def move(connection: Connection, sensor_ids: Sequence[int], station_id: int, from_ms: int) -> int:
    """From this time on these sensors stand at this station; returns how many stood elsewhere. All of them or none.

    Raises Problem for a time before a sensor's newest change.
    """
    hold(connection, sensor_ids)
    return sum(_move(connection, sensor_id, station_id, from_ms) for sensor_id in sensor_ids)


def _move(connection: Connection, sensor_id: int, station_id: int, from_ms: int) -> bool:
    row = deployment.c
    asked = select(deployment).where(row.sensor == sensor_id).order_by(row.from_ms.desc()).limit(1)
    last = connection.execute(asked).one_or_none()
    if last is not None and last.to_ms is None and last.station == station_id:
        return False
    earliest = None if last is None else last.from_ms if last.to_ms is None else last.to_ms
    if earliest is not None and from_ms < earliest:
        said = f"sensor {sensor_id} has stood where it stands since {rfc3339(earliest)}; a move before that would overlap"
        raise Problem(problems.OVERLAP, said, sensor=sensor_id, since=rfc3339(earliest))
    told = None if last is None or last.to_ms is not None else last.told or last.station
    if last is not None and last.to_ms is None and last.from_ms == from_ms:
        same = (row.sensor == sensor_id, row.from_ms == from_ms)
        connection.execute(update(deployment).where(*same).values(station=station_id, told=told))
        return True
    if last is not None and last.to_ms is None:
        connection.execute(update(deployment).where(row.sensor == sensor_id, row.from_ms == last.from_ms).values(to_ms=from_ms))
    kept = {} if last is None else {"height_m": last.height_m, "indoor": last.indoor}
    connection.execute(insert(deployment).values(sensor=sensor_id, station=station_id, from_ms=from_ms, told=told, **kept))
    return True


def split(connection: Connection, old: int, new: int, from_ms: int) -> None:
    """From this time on another sensor stands where this one stood, and moved to since."""
    row = deployment.c
    for one in connection.execute(select(deployment).where(row.sensor == old).order_by(row.from_ms)).all():
        if one.to_ms is not None and one.to_ms <= from_ms:
            continue
        mine = (row.sensor == old, row.from_ms == one.from_ms)
        if one.from_ms >= from_ms:
            connection.execute(update(deployment).where(*mine).values(sensor=new))
            continue
        connection.execute(update(deployment).where(*mine).values(to_ms=from_ms))
        place = {"station": one.station, "to_ms": one.to_ms, "height_m": one.height_m, "indoor": one.indoor, "told": one.told}
        connection.execute(insert(deployment).values(sensor=new, from_ms=from_ms, **place))


def stand_there(connection: Connection, station_id: int) -> bool:
    """Whether any sensor stands at a station now."""
    asked = select(deployment.c.sensor).where(deployment.c.station == station_id, deployment.c.to_ms.is_(None)).limit(1)
    return connection.execute(asked).first() is not None


def _told(row: Row[Any]) -> Deployment:
    to = None if row.to_ms is None else rfc3339(row.to_ms)
    return Deployment(row.sensor, row.station, rfc3339(row.from_ms), to, row.height_m, row.indoor)
