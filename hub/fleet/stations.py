"""Stations and sensors as the API shows them: place, channels, caveats, the newest values. Reads only.

A private station, and what stands there, is there for members of its network only; a coarse one is shown to about a kilometre.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from time import time_ns
from typing import Any, Literal

import msgspec
from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, Row, Select, and_, func, select, true

from hub.answers import rfc3339
from hub.auth.tokens import Caller
from hub.database.engine import Database
from hub.database.tables import channel, deployment, gateway, schema, sensor, station
from hub.fleet.category import PARAMETER, Categories, Index, Where
from hub.store.latest import Latest, latest
from hub.store.values import Values, values_of
from readings.errors import Stop

COARSE_DECIMALS = 2


class ChannelView(Struct, frozen=True):
    """`period_s`: averaging period [s], 0 = an instant; `resolution`: the step of the values [unit]."""

    parameter: str
    unit: str
    place: Literal["ambient", "internal"]
    period_s: int
    resolution: float


class Sensor(Struct, frozen=True):
    """`name` is `<gateway>/<local id>`; `station` where it stands now.

    `state` is the gateway's newest word on it: ok, or why it gives nothing, as no_data, warming_up, error, no_answer,
    unplugged; null before its first sample.
    """

    id: int
    name: str
    maker: str | None
    model: str | None
    serial: str | None
    profile: str | None
    firmware: str | None
    station: int | None
    channels: list[ChannelView]
    caveats: list[str]
    latest: Values | None
    last_seen: str | None
    state: str | None


class Station(Struct, frozen=True):
    """`index`: of its hourly PM2.5 NowCast; null where no sensor measures PM2.5 outside."""

    id: int
    name: str
    latitude: float | None
    longitude: float | None
    altitude_m: float | None
    timezone: str | None
    visibility: str
    last_seen: str | None
    sensors: list[Sensor]
    index: Index | None


def stations(
    database: Database,
    caller: Caller | None,
    categories: Categories,
    *,
    after: int = 0,
    limit: int | None = None,
    only: int | None = None,
) -> list[Station]:
    """Those that the caller may see, by id. `only`: at most this one. Raises DatabaseAway."""
    asked = select(station).where(visible(caller), station.c.id > after).order_by(station.c.id).limit(limit)
    with database.read() as connection:
        rows = connection.execute(asked if only is None else asked.where(station.c.id == only)).all()
        standing = _standing().where(deployment.c.station.in_([row.id for row in rows])).order_by(sensor.c.id)
        views = _views(connection, connection.execute(standing).all())
        where = particle_channels(connection, [view.id for view, _ in views])
    now_ms = time_ns() // 1_000_000
    made = []
    for row in rows:
        mine = [(view, newest) for view, newest in views if view.station == row.id]
        first = next((where[view.id] for view, _ in mine if view.id in where), None)
        index = None if first is None else categories.index(first, now_ms)
        made.append(_station(row, mine, index))
    return made


def sensors(
    connection: Connection,
    caller: Caller | None,
    *,
    after: int = 0,
    limit: int | None = None,
    only: int | None = None,
    name: str | None = None,
) -> list[Sensor]:
    """Those that the caller may see, by id. `only`: at most this one; `name`: `<gateway>/<local id>`."""
    asked = _standing().where(visible(caller), sensor.c.id > after).order_by(sensor.c.id).limit(limit)
    if only is not None:
        asked = asked.where(sensor.c.id == only)
    if name is not None:
        owner, _, local = name.partition("/")
        asked = asked.where(gateway.c.name == owner, sensor.c.local_id == local)
    return [view for view, _ in _views(connection, connection.execute(asked).all())]


def visible(caller: Caller | None) -> ColumnElement[bool]:
    """What may be seen of table `station`."""
    if caller is None:
        return station.c.visibility != "private"
    if caller.networks is None:
        return true()
    return (station.c.visibility != "private") | station.c.network.in_(list(caller.networks))


def particle_channels(connection: Connection, sensor_ids: Iterable[int]) -> dict[int, Where]:
    """Where the ambient PM2.5 of each sensor stands in each of its schemas; sensors without it are left out."""
    asked = (
        select(schema.c.sensor, schema.c.id, channel.c.idx, channel.c.period_s)
        .join(channel, channel.c.schema == schema.c.id)
        .where(schema.c.sensor.in_(list(sensor_ids)), channel.c.parameter == PARAMETER, channel.c.ambient)
        .order_by(schema.c.id)
    )
    found: dict[int, Where] = {}
    for row in connection.execute(asked):
        known = found.get(row.sensor)
        position = {**known.position, row.id: row.idx} if known else {row.id: row.idx}
        found[row.sensor] = Where(row.sensor, position, row.period_s)
    return found


def channels_of(connection: Connection, schemas: Iterable[int]) -> dict[int, list[ChannelView]]:
    """The channels of schemas, in the order of their samples' values."""
    asked = select(channel).where(channel.c.schema.in_(list(schemas))).order_by(channel.c.schema, channel.c.idx)
    found: dict[int, list[ChannelView]] = {}
    for row in connection.execute(asked):
        step = float(f"1e{row.exponent}")
        place: Literal["ambient", "internal"] = "ambient" if row.ambient else "internal"
        found.setdefault(row.schema, []).append(ChannelView(row.parameter, row.unit, place, row.period_s, step))
    return found


def _standing() -> Select[Any]:
    """Sensors with their gateway's name and the station where they stand now."""
    here = and_(deployment.c.sensor == sensor.c.id, deployment.c.to_ms.is_(None))
    newest = select(func.max(schema.c.id)).where(schema.c.sensor == sensor.c.id).scalar_subquery()
    return (
        select(sensor, gateway.c.name.label("owner"), deployment.c.station, newest.label("schema"))
        .join(deployment, here)
        .join(station, station.c.id == deployment.c.station)
        .join(gateway, gateway.c.id == sensor.c.gateway, isouter=True)
    )


def _views(connection: Connection, rows: Sequence[Row[Any]]) -> list[tuple[Sensor, Latest | None]]:
    newest = latest(connection, [row.id for row in rows])
    wanted = {row.schema for row in rows if row.schema is not None} | {one.schema for one in newest.values()}
    channels = channels_of(connection, wanted)
    told = select(schema.c.id, schema.c.content).where(schema.c.id.in_([row.schema for row in rows if row.schema is not None]))
    contents = {row.id: msgspec.json.decode(row.content) for row in connection.execute(told)}
    return [(_view(row, newest.get(row.id), channels, contents.get(row.schema, {})), newest.get(row.id)) for row in rows]


def _view(row: Row[Any], newest: Latest | None, channels: Mapping[int, list[ChannelView]], content: Mapping[str, Any]) -> Sensor:
    profile = content.get("profile")
    return Sensor(
        id=row.id,
        name=f"{row.owner}/{row.local_id}" if row.owner else row.local_id,
        maker=row.maker,
        model=row.model,
        serial=row.serial,
        profile=profile,
        firmware=content.get("firmware") or None,
        station=row.station,
        channels=channels.get(row.schema, []),
        caveats=list(caveats(profile)) if profile else [],
        latest=_values(newest, channels.get(newest.schema, [])) if newest else None,
        last_seen=rfc3339(newest.received_ms) if newest else None,
        state=(newest.state or "ok") if newest else None,
    )


def _values(newest: Latest, channels: Sequence[ChannelView]) -> Values:
    return values_of(newest.time_ms, [(one.parameter, one.unit) for one in channels], newest.body, newest.flags)


def _station(row: Row[Any], views: Sequence[tuple[Sensor, Latest | None]], index: Index | None) -> Station:
    seen = max((newest.received_ms for _, newest in views if newest), default=None)
    place = [row.lat, row.lon]
    if row.visibility == "coarse":
        place = [None if degrees is None else round(degrees, COARSE_DECIMALS) for degrees in place]
    return Station(
        id=row.id,
        name=row.name,
        latitude=place[0],
        longitude=place[1],
        altitude_m=row.alt,
        timezone=row.zone,
        visibility=row.visibility,
        last_seen=None if seen is None else rfc3339(seen),
        sensors=[view for view, _ in views],
        index=index,
    )


@cache
def caveats(profile: str) -> tuple[str, ...]:
    """What the shipped profile of this name warns of; nothing for one that is not shipped."""
    try:
        return tuple(_catalogue().get(profile).caveats)
    except Stop:
        return ()


@cache
def _catalogue() -> Any:
    from adapters.catalogue import Catalogue

    return Catalogue.load([])
