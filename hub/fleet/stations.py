"""Stations and sensors as the API shows them: place, channels, caveats, the newest values. Reads only.

What is newest is shown at the station where it was measured: after a move there is nothing yet. Who sees what: visibility.py.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from time import time_ns
from typing import Any, Literal

import msgspec
from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, Row, Select, and_, func, select

from hub.answers import rfc3339
from hub.auth.rights import member
from hub.auth.tokens import Caller
from hub.database.engine import Database
from hub.database.tables import channel, deployment, gateway, network, schema, sensor, station, swap
from hub.fleet.category import PARAMETER, Categories, Index, Where
from hub.fleet.coarse import coarse, coarse_altitude
from hub.fleet.visibility import COARSE, FIRST_MS, seen_anywhere, visible
from hub.store.latest import Latest, latest
from hub.store.values import Values, values_of
from readings.errors import Stop


class ChannelView(Struct, frozen=True):
    """`period_s`: averaging period [s], 0 = an instant; `resolution`: the step of the values [unit]."""

    parameter: str
    unit: str
    place: Literal["ambient", "internal"]
    period_s: int
    resolution: float


class Sensor(Struct, frozen=True):
    """`name` is `<gateway>/<local id>`; `station` where it stands now, as far as the caller may see that.

    `state` is the gateway's newest word on it: ok, or why it gives nothing, as no_data, warming_up, error, no_answer,
    unplugged; null before its first sample. `replaced`: when another sensor took its place, null for one in use.
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
    network: int
    replaced: str | None = None


class Station(Struct, frozen=True):
    """`index`: of its hourly PM2.5 NowCast; null where no sensor measures PM2.5 outside.

    `visibility` coarse: who is no member of the network sees the middle of a cell of about a kilometre. `licence`, `attribution`:
    how its data may be used, and whom to name. `closed`: since when nothing stands there any more.
    """

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
    network: int
    licence: str | None
    attribution: str | None
    closed: str | None = None


class _Standing(Struct, frozen=True):
    """A sensor's answer, and what its station's answer is made of: when its newest row came, since when it stands there."""

    view: Sensor
    received_ms: int | None
    since_ms: int


def stations(
    database: Database,
    caller: Caller | None,
    categories: Categories,
    *,
    after: int = 0,
    limit: int | None = None,
    only: int | None = None,
) -> list[Station]:
    """Those that the caller may see, by id; closed ones only where asked for by id. `only`: at most this one.

    Raises DatabaseAway.
    """
    asked = (
        select(station, network.c.embargo_s, network.c.licence, network.c.attribution)
        .join(network, network.c.id == station.c.network)
        .where(visible(caller), station.c.id > after)
        .order_by(station.c.id)
        .limit(limit)
    )
    asked = asked.where(station.c.closed_ms.is_(None)) if only is None else asked.where(station.c.id == only)
    now_ms = time_ns() // 1_000_000
    with database.read() as connection:
        rows = connection.execute(asked).all()
        standing = _standing(caller).where(deployment.c.station.in_([row.id for row in rows])).order_by(sensor.c.id)
        found = _views(connection, connection.execute(standing).all(), caller, now_ms)
        where = particle_channels(connection, {one.view.id: one.since_ms for one in found})
    by_station: dict[int | None, list[_Standing]] = {}
    for one in found:
        by_station.setdefault(one.view.station, []).append(one)
    made = []
    for row in rows:
        mine = by_station.get(row.id, [])
        first = next((where[one.view.id] for one in mine if one.view.id in where), None)
        shown = first is not None and (row.embargo_s == 0 or member(caller, row.network))
        index = categories.index(first, now_ms) if first is not None and shown else None
        made.append(_station(row, mine, index, exact=row.visibility != COARSE or member(caller, row.network)))
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
    asked = _standing(caller).where(seen_anywhere(caller), sensor.c.id > after).order_by(sensor.c.id).limit(limit)
    if only is not None:
        asked = asked.where(sensor.c.id == only)
    if name is not None:
        owner, _, local = name.partition("/")
        asked = asked.where(gateway.c.name == owner, sensor.c.local_id == local)
    now_ms = time_ns() // 1_000_000
    return [one.view for one in _views(connection, connection.execute(asked).all(), caller, now_ms)]


def particle_channels(connection: Connection, since_ms: Mapping[int, int]) -> dict[int, Where]:
    """Where the ambient PM2.5 of each sensor stands in each of its schemas; sensors without it are left out.

    `since_ms`: by sensor, the time from which on its samples count.
    """
    asked = (
        select(schema.c.sensor, schema.c.id, channel.c.idx, channel.c.period_s)
        .join(channel, channel.c.schema == schema.c.id)
        .where(schema.c.sensor.in_(list(since_ms)), channel.c.parameter == PARAMETER, channel.c.ambient)
        .order_by(schema.c.id)
    )
    found: dict[int, Where] = {}
    for row in connection.execute(asked):
        known = found.get(row.sensor)
        position = {**known.position, row.id: row.idx} if known else {row.id: row.idx}
        found[row.sensor] = Where(row.sensor, position, row.period_s, since_ms[row.sensor])
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


def _standing(caller: Caller | None) -> Select[Any]:
    """Sensors with their gateway's name and where they stand now, as far as the caller may see that place."""
    here = and_(deployment.c.sensor == sensor.c.id, deployment.c.to_ms.is_(None))
    newest = select(func.max(schema.c.id)).where(schema.c.sensor == sensor.c.id).scalar_subquery()
    first = deployment.alias("first")
    first_ms = select(func.min(first.c.from_ms)).where(first.c.sensor == sensor.c.id).scalar_subquery()
    place = deployment.join(station, and_(station.c.id == deployment.c.station, visible(caller)))
    source = (
        sensor.outerjoin(place.join(network, network.c.id == station.c.network), here)
        .outerjoin(gateway, gateway.c.id == sensor.c.gateway)
        .outerjoin(swap, swap.c.sensor == sensor.c.id)
    )
    columns: list[ColumnElement[Any]] = [
        *sensor.c,
        gateway.c.name.label("owner"),
        deployment.c.station,
        deployment.c.from_ms,
        first_ms.label("first_ms"),
        newest.label("schema"),
        station.c.network.label("at"),
        network.c.embargo_s,
        swap.c.until_ms,
    ]
    return select(*columns).select_from(source)


def _views(connection: Connection, rows: Sequence[Row[Any]], caller: Caller | None, now_ms: int) -> list[_Standing]:
    newest = latest(connection, [row.id for row in rows])
    wanted = {row.schema for row in rows if row.schema is not None} | {one.schema for one in newest.values()}
    channels = channels_of(connection, wanted)
    told = select(schema.c.id, schema.c.content).where(schema.c.id.in_([row.schema for row in rows if row.schema is not None]))
    contents = {row.id: msgspec.json.decode(row.content) for row in connection.execute(told)}
    return [_view(row, _shown(row, newest.get(row.id), caller, now_ms), channels, contents.get(row.schema, {})) for row in rows]


def _shown(row: Row[Any], newest: Latest | None, caller: Caller | None, now_ms: int) -> Latest | None:
    """The newest sample, if it was measured where the sensor stands now and the caller may know it already."""
    if newest is None or row.at is None:
        mine = newest is not None and row.first_ms is None and member(caller, row.network)
        return newest if mine else None
    if row.from_ms != row.first_ms and newest.time_ms < row.from_ms:
        return None
    if row.embargo_s > 0 and not member(caller, row.at):
        until = now_ms - row.embargo_s * 1000
        return newest if max(newest.time_ms, newest.received_ms) <= until else None
    return newest


def _view(
    row: Row[Any], newest: Latest | None, channels: Mapping[int, list[ChannelView]], content: Mapping[str, Any]
) -> _Standing:
    profile = content.get("profile")
    view = Sensor(
        id=row.id,
        name=f"{row.owner}/{row.local_id}" if row.owner else row.local_id,
        maker=row.maker,
        model=row.model,
        serial=row.serial,
        profile=profile,
        firmware=content.get("firmware") or None,
        station=row.station if row.at is not None else None,
        channels=channels.get(row.schema, []),
        caveats=list(caveats(profile)) if profile else [],
        latest=_values(newest, channels.get(newest.schema, [])) if newest else None,
        last_seen=rfc3339(newest.received_ms) if newest else None,
        state=(newest.state or "ok") if newest else None,
        network=row.network,
        replaced=None if row.until_ms is None else rfc3339(row.until_ms),
    )
    since_ms = FIRST_MS if row.from_ms in (None, row.first_ms) else row.from_ms
    return _Standing(view, newest.received_ms if newest else None, since_ms)


def _values(newest: Latest, channels: Sequence[ChannelView]) -> Values:
    return values_of(newest.time_ms, [(one.parameter, one.unit) for one in channels], newest.body, newest.flags)


def _station(row: Row[Any], standing: Sequence[_Standing], index: Index | None, *, exact: bool) -> Station:
    seen = max((one.received_ms for one in standing if one.received_ms is not None), default=None)
    place, altitude_m = (row.lat, row.lon), row.alt
    if not exact:
        place = place if row.lat is None or row.lon is None else coarse(row.lat, row.lon)
        altitude_m = coarse_altitude(row.alt)
    return Station(
        id=row.id,
        name=row.name,
        latitude=place[0],
        longitude=place[1],
        altitude_m=altitude_m,
        timezone=row.zone,
        visibility=row.visibility,
        last_seen=None if seen is None else rfc3339(seen),
        sensors=[one.view for one in standing],
        index=index,
        network=row.network,
        licence=row.licence,
        attribution=row.attribution,
        closed=None if row.closed_ms is None else rfc3339(row.closed_ms),
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
