"""A caller and a station, a sensor or a time in; what they may see out. The one place where that is decided.

Private: there for members of the network only. Embargo: what is younger is for members only, on every way out. A sensor's data
belong to the station where it stood at their time: their visibility is that station's, and their embargo its network's.
"""

from collections.abc import Collection, Iterable, Sequence
from time import time_ns
from typing import Any

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, and_, exists, false, func, or_, select, true
from sqlalchemy.sql.selectable import FromClause

from hub.auth.rights import member
from hub.auth.tokens import Caller
from hub.database.engine import Database
from hub.database.tables import audit, deployment, gateway, meta, network, sensor, station, swap

PRIVATE, COARSE, PUBLIC = "private", "coarse", "public"
VISIBILITIES = (PUBLIC, COARSE, PRIVATE)
FIRST_MS, END_MS = -(1 << 62), 1 << 62
"""Before and after every time that a row may have."""


class Access(Struct, frozen=True):
    """What a caller may read of a sensor: spans of time [from, to), ascending; `after_ms`: an embargo hides what is younger.

    Licence and attribution are those of the newest network whose data they are.
    """

    name: str
    spans: Sequence[tuple[int, int]]
    after_ms: int | None
    licence: str | None
    attribution: str | None

    def within(self, from_ms: int, to_ms: int) -> list[tuple[int, int]]:
        """The parts of a span of time that may be read."""
        cut = [(max(from_ms, first), min(to_ms, end)) for first, end in self.spans]
        return [(first, end) for first, end in cut if first < end]


def visible(caller: Caller | None, of: FromClause = station) -> ColumnElement[bool]:
    """What may be seen of table `station`."""
    return or_(of.c.visibility != PRIVATE, insider(caller, of.c.network))


def insider(caller: Caller | None, network_id: ColumnElement[int]) -> ColumnElement[bool]:
    """The networks whose member a caller is, as a condition; the same as `hub.auth.guard.member`."""
    if caller is None or caller.gateway is not None:
        return false()
    if caller.networks is None:
        return true()
    return network_id.in_(list(caller.networks))


def access(database: Database, cursor: Any, sensor_id: int, caller: Caller | None, now_ms: int) -> Access | None:
    """What a caller may read of one sensor; None when for them there is no such sensor. `cursor`: the driver's own."""
    ask = (
        "SELECT g.name, s.local_id, s.network AS own, d.from_ms, d.to_ms, t.visibility, t.network, n.embargo_s, n.licence,"
        " n.attribution FROM sensor s LEFT JOIN gateway g ON g.id = s.gateway LEFT JOIN deployment d ON d.sensor = s.id"
        " LEFT JOIN station t ON t.id = d.station LEFT JOIN network n ON n.id = t.network WHERE s.id = ? ORDER BY d.from_ms"
    )
    cursor.execute(database.sql(ask), (sensor_id,))
    rows = cursor.fetchall()
    if not rows:
        return None
    name = f"{rows[0][0]}/{rows[0][1]}" if rows[0][0] else str(rows[0][1])
    if rows[0][3] is None:  # it stood nowhere yet: its own network's
        return Access(name, [(FIRST_MS, END_MS)], None, None, None) if member(caller, rows[0][2]) else None
    spans: list[tuple[int, int]] = []
    after_ms, terms = None, (None, None)
    for at, row in enumerate(rows):
        _, _, _, from_ms, to_ms, visibility, owner, embargo_s, *told = row
        inside = member(caller, owner)
        if visibility == PRIVATE and not inside:
            continue
        first, end = FIRST_MS if at == 0 else from_ms, END_MS if to_ms is None else to_ms
        if embargo_s > 0 and not inside and end > now_ms - embargo_s * 1000:
            end = after_ms = now_ms - embargo_s * 1000
        terms = (told[0], told[1])
        if spans and spans[-1][1] == first:
            first = spans.pop()[0]
        spans.append((first, end))
    seen = any(row[5] != PRIVATE or member(caller, row[6]) for row in rows)
    return Access(name, spans, after_ms, *terms) if seen else None


def seen_anywhere(caller: Caller | None) -> ColumnElement[bool]:
    """Sensors that stand or stood where the caller may look, or belong to a network of theirs."""
    stood, place = deployment.alias("stood"), station.alias("place")
    there = select(1).select_from(stood.join(place, place.c.id == stood.c.station))
    return or_(exists(there.where(stood.c.sensor == sensor.c.id, visible(caller, place))), insider(caller, sensor.c.network))


def told_sensors(connection: Connection, sensors: Iterable[int]) -> dict[int, int]:
    """Of these sensors those that whoever watches the broker may hear of, and since when they stand there [Unix ms].

    Left out: at a private station, in a network with an embargo, nowhere, replaced by another sensor.
    """
    first = deployment.alias("first")
    since = select(func.min(first.c.from_ms)).where(first.c.sensor == deployment.c.sensor).scalar_subquery()
    asked = (
        select(deployment.c.sensor, deployment.c.from_ms, since.label("first_ms"))
        .join(station, station.c.id == deployment.c.station)
        .join(network, network.c.id == station.c.network)
        .where(deployment.c.to_ms.is_(None), deployment.c.sensor.in_(list(sensors)))
        .where(station.c.visibility != PRIVATE, network.c.embargo_s == 0)
        .where(~exists(select(1).where(swap.c.sensor == deployment.c.sensor)))
    )
    return {row.sensor: FIRST_MS if row.from_ms == row.first_ms else row.from_ms for row in connection.execute(asked)}


def hidden_gateways(connection: Connection) -> set[str]:
    """Gateways all of whose sensors are hidden, and those whose first station shall be: nobody hears of them at the broker."""
    here = and_(deployment.c.sensor == sensor.c.id, deployment.c.to_ms.is_(None))
    open_place = and_(station.c.visibility != PRIVATE, network.c.embargo_s == 0)
    standing = (
        select(gateway.c.id, gateway.c.name, func.count().label("all"), func.count().filter(open_place).label("told"))
        .join(sensor, sensor.c.gateway == gateway.c.id)
        .join(deployment, here)
        .join(station, station.c.id == deployment.c.station)
        .join(network, network.c.id == station.c.network)
        .group_by(gateway.c.id, gateway.c.name)
    )
    rows = connection.execute(standing).all()
    wished = {
        int(key.removeprefix("visibility/")): value
        for key, value in connection.execute(select(meta.c.key, meta.c.value).where(meta.c.key.startswith("visibility/")))
    }
    asked = select(gateway.c.id, gateway.c.name, network.c.visibility, network.c.embargo_s)
    owners = connection.execute(asked.join(network, network.c.id == gateway.c.network)).all()
    placed = {row.id for row in rows}
    return {row.name for row in rows if row.told == 0} | {
        row.name
        for row in owners
        if row.embargo_s > 0
        or wished.get(row.id) == PRIVATE
        or (row.id not in placed and wished.get(row.id, row.visibility) == PRIVATE)
    }


def changes(connection: Connection) -> tuple[int, int]:
    """Differs after whatever changes who may see what: people's changes are in the audit log, gateways' are deployments."""
    asked = select(
        select(func.coalesce(func.max(audit.c.id), 0)).scalar_subquery(),
        select(func.count()).select_from(deployment).scalar_subquery(),
    )
    people, gateways = connection.execute(asked).one()
    return int(people), int(gateways)


def known_networks(caller: Caller | None) -> Collection[int] | None:
    """The networks that a caller belongs to; None for all."""
    if caller is None:
        return ()
    return None if caller.networks is None else caller.networks.keys()


def now() -> int:
    """Unix [ms]."""
    return time_ns() // 1_000_000
