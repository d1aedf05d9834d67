"""A gateway's name for a sensor and a time in; which sensor that was out. And the swap: another sensor takes a name over.

A gateway knows its sensors by a name (`local_id`) that outlives a swap. Which sensor a row belongs to is told by the row's time,
wherever and whenever it arrives: a backlog from before the swap goes to the old one. The old sensor keeps its samples and its
history under `<local_id>~<its id>`, a name that no gateway can use.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, Row, func, insert, select, update

from hub import problems
from hub.answers import rfc3339
from hub.database.tables import batch, channel, event, held, latest, sample, sample_before, schema, sensor, swap
from hub.fleet.deployments import hold, split
from hub.problems import Problem

DAY_MS = 86_400_000
MOST_SAMPLES = 200_000
"""So many samples may change hands in one swap: the hub's other writers wait for it."""


class Lines:
    """Every name that was ever taken over: who answered to it, until when. Read within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self.version = version(connection)
        self._until: dict[tuple[int, str], list[tuple[int, int]]] = {}
        self._bounds: dict[int, tuple[int | None, int | None]] = {}
        if not self.version:
            return
        names: dict[tuple[int, str], int | None] = {}
        for row in connection.execute(select(swap).order_by(swap.c.gateway, swap.c.local_id, swap.c.until_ms)):
            key = (row.gateway, row.local_id)
            self._until.setdefault(key, []).append((row.until_ms, row.sensor))
            self._bounds[row.sensor] = (names.get(key), row.until_ms)
            names[key] = row.until_ms
        holding = select(sensor.c.id, sensor.c.gateway, sensor.c.local_id).where(
            sensor.c.gateway.in_({gateway for gateway, _ in names})
        )
        for row in connection.execute(holding):
            if (row.gateway, row.local_id) in names:
                self._bounds[row.id] = (names[row.gateway, row.local_id], None)
                self._until[row.gateway, row.local_id].append((END_MS, row.id))

    def swapped(self, gateway_id: int, local_id: str | None) -> bool:
        """Whether this name was ever taken over."""
        return (gateway_id, local_id) in self._until

    def at(self, gateway_id: int, local_id: str, time_ms: int) -> int | None:
        """The sensor that answered to a name at a time; None for a name that was never taken over."""
        return next((one for until, one in self._until.get((gateway_id, local_id), ()) if time_ms < until), None)

    def sensors(self, gateway_id: int, local_id: str) -> Sequence[tuple[int, int]]:
        """(until [Unix ms], sensor) of a name that was taken over, ascending."""
        return self._until.get((gateway_id, local_id), ())

    def bounds(self, sensor_id: int) -> tuple[int | None, int | None]:
        """[from, to) in which a sensor answered to its name [Unix ms]; None: always."""
        return self._bounds.get(sensor_id, (None, None))


END_MS = 1 << 62


class Described(Struct, frozen=True):
    """What people know of a sensor. None: as it was."""

    maker: str | None = None
    model: str | None = None
    serial: str | None = None


def version(connection: Connection) -> int:
    """Grows with each swap; 0 before there was any."""
    return int(connection.execute(select(func.coalesce(func.max(swap.c.id), 0))).scalar_one())


def replaced(connection: Connection, sensor_id: int) -> bool:
    """Whether another sensor has taken its name."""
    return connection.execute(select(swap.c.id).where(swap.c.sensor == sensor_id)).first() is not None


def take_over(connection: Connection, sensor_id: int, described: Described, from_ms: int) -> int:
    """From this time on a new sensor answers to the name of this one; its id. Samples of a later time become the new one's.

    Raises Problem: for a sensor without a gateway or that was replaced already, for a time before it took over itself.
    """
    hold(connection, [sensor_id])
    old = connection.execute(select(sensor).where(sensor.c.id == sensor_id)).one()
    if old.gateway is None or replaced(connection, sensor_id):
        raise Problem(problems.OVERLAP, f"sensor {sensor_id} was replaced already; swap the one that took its place")
    mine = (swap.c.gateway == old.gateway, swap.c.local_id == old.local_id)
    began = connection.execute(select(func.max(swap.c.until_ms)).where(*mine)).scalar()
    if began is not None and from_ms <= began:
        raise Problem(problems.OVERLAP, f"sensor {sensor_id} itself took over at {rfc3339(began)}", since=rfc3339(began))
    later = (sample.c.sensor == sensor_id, sample.c.time_ms >= from_ms)
    if connection.execute(select(func.count()).select_from(sample).where(*later)).scalar_one() > MOST_SAMPLES:
        said = f"more than {MOST_SAMPLES} samples are younger than {rfc3339(from_ms)}; take a later time"
        raise Problem(problems.OVERLAP, said)
    connection.execute(update(sensor).where(sensor.c.id == sensor_id).values(local_id=f"{old.local_id}~{sensor_id}"))
    told = {"maker": described.maker or old.maker, "model": described.model or old.model, "serial": described.serial}
    row = {"network": old.network, "gateway": old.gateway, "local_id": old.local_id, **told}
    new = int(connection.execute(insert(sensor).values(**row).returning(sensor.c.id)).scalar_one())
    connection.execute(insert(swap).values(gateway=old.gateway, local_id=old.local_id, until_ms=from_ms, sensor=sensor_id))
    split(connection, sensor_id, new, from_ms)
    _hand_over(connection, sensor_id, new, from_ms)
    return new


def describe_also(connection: Connection, schema_id: int, sensor_id: int) -> int:
    """The schema row that says of this sensor what that one says of another of the same name; made where it is missing."""
    row = connection.execute(select(schema).where(schema.c.id == schema_id)).one()
    if row.sensor == sensor_id:
        return schema_id
    same = (schema.c.gateway == row.gateway, schema.c.stream == row.stream, schema.c.row == row.row, schema.c.sensor == sensor_id)
    found = connection.execute(select(schema.c.id).where(*same)).scalar()
    if found is not None:
        return int(found)
    copied = {"gateway": row.gateway, "stream": row.stream, "row": row.row, "sensor": sensor_id, "content": row.content}
    made = int(connection.execute(insert(schema).values(**copied).returning(schema.c.id)).scalar_one())
    for one in connection.execute(select(channel).where(channel.c.schema == schema_id)).all():
        connection.execute(insert(channel).values({**one._mapping, "schema": made}))
    return made


def _hand_over(connection: Connection, old: int, new: int, from_ms: int) -> None:
    """Rows of a later time that came before the swap was told; what a rebuild would do, here and now."""
    newest = connection.execute(select(func.max(schema.c.id)).where(schema.c.sensor == old)).scalar()
    used = select(sample.c.schema).where(sample.c.sensor == old, sample.c.time_ms >= from_ms).distinct()
    schemas = {int(one) for one in connection.execute(used).scalars()} | _alive(connection, old, from_ms)
    schemas |= {int(newest)} if newest is not None else set()
    also: dict[int, int] = {one: describe_also(connection, one, new) for one in sorted(schemas)}
    for table in (sample, sample_before):
        for before, after in also.items():
            mine = (table.c.sensor == old, table.c.time_ms >= from_ms, table.c.schema == before)
            connection.execute(update(table).where(*mine).values(sensor=new, schema=after))
    connection.execute(update(event).where(event.c.sensor == old, event.c.time_ms >= from_ms).values(sensor=new))
    _hand_over_latest(connection, old, new, from_ms, also)


def _alive(connection: Connection, old: int, from_ms: int) -> set[int]:
    """Schema rows whose stream went on until this time or longer: of these, rows may be on their way through the followers."""
    last = (
        select(batch.c.received_ms)
        .where(batch.c.gateway == schema.c.gateway, batch.c.stream == schema.c.stream)
        .order_by(batch.c.lo.desc(), batch.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    asked = select(schema.c.id).where(schema.c.sensor == old, last >= from_ms - DAY_MS)
    return {int(one) for one in connection.execute(asked).scalars()}


def _hand_over_latest(connection: Connection, old: int, new: int, from_ms: int, also: Mapping[int, int]) -> None:
    row = connection.execute(select(latest).where(latest.c.sensor == old)).one_or_none()
    if row is None or row.time_ms < from_ms:
        return
    connection.execute(update(latest).where(latest.c.sensor == old).values(sensor=new, schema=also.get(row.schema, row.schema)))
    asked = (
        select(sample)
        .where(sample.c.sensor == old)
        .order_by(sample.c.time_ms.desc(), sample.c.stream_no.desc(), sample.c.seq.desc())
    )
    last = connection.execute(asked.limit(1)).one_or_none()
    if last is not None:
        columns = ("sensor", "time_ms", "stream_no", "seq", "schema", "body", "flags")
        values = {name: last._mapping[name] for name in columns}
        connection.execute(insert(latest).values(**values, received_ms=_received(connection, last)))


def _received(connection: Connection, row: Row[Any]) -> int:
    """When a sample came: of the first batch that has it; of one without a number its own time."""
    asked = (
        select(batch.c.received_ms)
        .join(held, (held.c.gateway == batch.c.gateway) & (held.c.stream == batch.c.stream))
        .where(held.c.no == row.stream_no, batch.c.lo <= row.seq, batch.c.lo + batch.c.n > row.seq)
        .order_by(batch.c.id)
        .limit(1)
    )
    found = connection.execute(asked).scalar()
    return int(row.time_ms if found is None else found)
