"""Names that a gateway uses in; the ids of sensor, station and deployment out, made where missing. In settle's transaction."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, delete, insert, select, update

from hub.database.tables import deployment, event, gateway, meta, network, schema, sensor, station
from hub.fleet.swaps import Lines, describe_also

MAX_NAME = 200
PUSH = "push"
"""The kind of a gateway without a daemon: its sensors post by themselves."""
SAME_PLACE_DEG = 1e-5
"""About a metre: coordinates this near are the same place told again."""


class Site(Struct, frozen=True):
    """What a start row says of the place; anything that is no coordinate, zone or name is None."""

    name: str | None
    lat: float | None
    lon: float | None
    alt: float | None
    zone: str | None


def read_site(told: Any) -> Site:
    """A start row's `site` as far as it makes sense: what a gateway sends is never trusted."""
    given: Mapping[str, Any] = told if isinstance(told, dict) else {}
    lat, lon = _number(given.get("lat"), 90), _number(given.get("lon"), 180)
    if lat is None or lon is None:
        lat = lon = None
    return Site(name(given.get("name")), lat, lon, _number(given.get("alt_m"), 10_000), name(given.get("zone")))


def name(value: Any) -> str | None:
    """A printable text of at most 200 characters, else None."""
    return value if isinstance(value, str) and 0 < len(value) <= MAX_NAME and value.isprintable() else None


class _Owner(NamedTuple):
    network: int
    name: str
    kind: str


class Places:
    """Upserts for one transaction. `sensors` may be shared by transactions as long as each of them commits."""

    def __init__(self, connection: Connection, sensors: dict[tuple[int, str], int]) -> None:
        self._connection = connection
        self._sensors = sensors
        self.lines = Lines(connection)

    def sensor(self, gateway_id: int, local_id: str, at_ms: int) -> int:
        """The id of the sensor that answered to a gateway's name for it at a time."""
        swapped = self.lines.at(gateway_id, local_id, at_ms)
        if swapped is not None:
            return swapped
        known = self._sensors.get((gateway_id, local_id))
        if known is None:
            asked = select(sensor.c.id).where(sensor.c.gateway == gateway_id, sensor.c.local_id == local_id)
            known = self._connection.execute(asked).scalar()
            if known is None:
                row = {"network": self._gateway(gateway_id).network, "gateway": gateway_id, "local_id": local_id}
                known = self._connection.execute(insert(sensor).values(**row).returning(sensor.c.id)).scalar_one()
            self._sensors[gateway_id, local_id] = known
        return known

    def describe(self, sensor_id: int, profile: str, serial: str | None = None) -> None:
        """Maker and model, from a profile's id `<maker>.<model>`; the serial number, if it was told. What people say stays."""
        row = self._connection.execute(select(sensor.c.maker, sensor.c.model).where(sensor.c.id == sensor_id)).one()
        told = {} if serial is None else {"serial": serial}
        if tuple(row) == (None, None) or tuple(row) in self._told_models(sensor_id):
            told |= dict(zip(("maker", "model"), _model(profile), strict=True))  # type: ignore[arg-type]  # model may be None
        if told:
            self._connection.execute(update(sensor).where(sensor.c.id == sensor_id).values(**told))

    def describe_at(self, gateway_id: int, stream: str, row: int, local_id: str, times_ms: Sequence[int]) -> None:
        """After a swap a schema row describes each sensor that answered to its name at these times."""
        line = self.lines.sensors(gateway_id, local_id)
        if not line:
            return
        same = (schema.c.gateway == gateway_id, schema.c.stream == stream, schema.c.row == row)
        found = self._connection.execute(select(schema.c.id).where(*same).order_by(schema.c.id).limit(1)).scalar_one()
        for sensor_id in sorted({at for time_ms in times_ms if (at := self.lines.at(gateway_id, local_id, time_ms)) is not None}):
            describe_also(self._connection, int(found), sensor_id)

    def station(self, gateway_id: int, site: Site, told_ms: int | None = None) -> int:
        """The station that gateways call so (without a name: by the gateway's). Coordinates are set once.

        Other ones are an event of the time `told_ms`; None: it has been told before.
        """
        owner = self._gateway(gateway_id)
        called = site.name or owner.name
        named = (station.c.site == called) | (station.c.name == called)
        asked = select(station).where(station.c.network == owner.network, named)
        found = self._connection.execute(asked.order_by((station.c.site == called).is_(True).desc()).limit(1)).one_or_none()
        place = {"lat": site.lat, "lon": site.lon, "alt": site.alt, "zone": site.zone}
        if found is None:
            row = {"network": owner.network, "name": called, "visibility": self._visibility(gateway_id), **place}
            return int(self._connection.execute(insert(station).values(**row).returning(station.c.id)).scalar_one())
        if found.lat is None and site.lat is not None:
            self._connection.execute(update(station).where(station.c.id == found.id).values(**place))
        elif told_ms is not None and found.lat is not None and _apart(found, site):
            told = {"event": "site_differs", "station": called, "kept": [found.lat, found.lon], "told": [site.lat, site.lon]}
            self._note(gateway_id, told_ms, told)
        if found.closed_ms is not None and told_ms is not None and told_ms > found.closed_ms:
            self._connection.execute(update(station).where(station.c.id == found.id).values(closed_ms=None))
            self._note(gateway_id, told_ms, {"event": "station_reopened", "station": called})
        return int(found.id)

    def station_without_site(self, gateway_id: int) -> int:
        """Where the start row is lost: the station of the gateway's other sensors, else one of the gateway's own name."""
        asked = select(deployment.c.station).join(sensor, sensor.c.id == deployment.c.sensor)
        newest = asked.where(sensor.c.gateway == gateway_id).order_by(deployment.c.from_ms.desc(), deployment.c.sensor)
        found = self._connection.execute(newest.limit(1)).scalar()
        return int(found) if found is not None else self.station(gateway_id, read_site(None))

    def stand(self, sensor_id: int, gateway_id: int, called: str | None, from_ms: int) -> None:
        """A sensor that posts: it stands somewhere at least from this time on, and where it stands already it stays.

        A new one: at the station of this name; without one, where the gateway stands.
        """
        row = deployment.c
        asked = select(row.from_ms).where(row.sensor == sensor_id).order_by(row.from_ms).limit(1)
        first = self._connection.execute(asked).scalar()
        if first is None:
            if called is not None:
                place = self.station(gateway_id, Site(name(called), None, None, None, None))
            elif self._gateway(gateway_id).kind == PUSH:
                place = self.station(gateway_id, read_site(None))
            else:
                place = self.station_without_site(gateway_id)
            made = {"sensor": sensor_id, "station": place, "from_ms": from_ms}
            self._connection.execute(insert(deployment).values(**made))
        elif from_ms < first:
            change = update(deployment).where(row.sensor == sensor_id, row.from_ms == first)
            self._connection.execute(change.values(from_ms=from_ms))

    def deploy(self, sensor_id: int, station_id: int, from_ms: int) -> None:
        """From this time on the sensor stands at this station, up to the next time that is known. Any order of telling.

        Where a person moved it from this station it stays, and what became another network's history is not touched.
        """
        row = deployment.c
        since_ms, until_ms = self.lines.bounds(sensor_id)
        from_ms = max(from_ms, since_ms or from_ms)
        if until_ms is not None and from_ms >= until_ms:
            return
        asked = select(row.from_ms, row.to_ms, row.station, row.told).where(row.sensor == sensor_id).order_by(row.from_ms)
        known = self._connection.execute(asked).all()
        before = [d for d in known if d.from_ms <= from_ms]
        if before and station_id in (before[-1].station, before[-1].told):
            return
        then = before[-1] if before else known[0] if known else None
        if then is not None and then.to_ms is not None and self._network(then.station) != self._network(station_id):
            station_id = then.station  # a time before the gateway was given away
            if before:
                return
        told = None
        if not known and (moved := self._moved(sensor_id, station_id)) is not None:
            station_id, told = moved, station_id
        change = update(deployment).where(row.sensor == sensor_id)
        if before and before[-1].from_ms == from_ms:
            self._connection.execute(change.where(row.from_ms == from_ms).values(station=station_id))
            return
        if not before and known and known[0].station == station_id:
            self._connection.execute(change.where(row.from_ms == known[0].from_ms).values(from_ms=from_ms))
            return
        to_ms = before[-1].to_ms if before else known[0].from_ms if known else None
        if before:
            self._connection.execute(change.where(row.from_ms == before[-1].from_ms).values(to_ms=from_ms))
        made = {"sensor": sensor_id, "station": station_id, "from_ms": from_ms, "to_ms": to_ms or until_ms, "told": told}
        self._connection.execute(insert(deployment).values(**made))

    def _moved(self, sensor_id: int, station_id: int) -> int | None:
        """Where a person moved the other sensors of the gateway from this station; None where nobody did."""
        own = select(sensor.c.gateway).where(sensor.c.id == sensor_id).scalar_subquery()
        asked = (
            select(deployment.c.station)
            .join(sensor, sensor.c.id == deployment.c.sensor)
            .where(sensor.c.gateway == own, deployment.c.told == station_id, deployment.c.to_ms.is_(None))
            .order_by(deployment.c.from_ms.desc(), deployment.c.sensor)
        )
        found: int | None = self._connection.execute(asked.limit(1)).scalar()
        return found

    def _network(self, station_id: int) -> int | None:
        found: int | None = self._connection.execute(select(station.c.network).where(station.c.id == station_id)).scalar()
        return found

    def _told_models(self, sensor_id: int) -> set[tuple[str, str | None]]:
        """What the gateway's own words made of a sensor so far."""
        asked = select(schema.c.content).where(schema.c.sensor == sensor_id).order_by(schema.c.id.desc()).limit(20)
        return {_model(msgspec.json.decode(text)["profile"]) for text in self._connection.execute(asked).scalars()}

    def _gateway(self, gateway_id: int) -> "_Owner":
        asked = select(gateway.c.network, gateway.c.name, gateway.c.kind).where(gateway.c.id == gateway_id)
        return _Owner(*self._connection.execute(asked).one())

    def _visibility(self, gateway_id: int) -> str:
        """What `gateway enrol --visibility` left for the station's making, else what is usual in the network.

        A gateway without a daemon has a station for each device that posts: what was left holds for all of them.
        """
        owner, key = self._gateway(gateway_id), f"visibility/{gateway_id}"
        found = self._connection.execute(select(meta.c.value).where(meta.c.key == key)).scalar()
        if owner.kind != PUSH:
            self._connection.execute(delete(meta).where(meta.c.key == key))
        usual = select(network.c.visibility).where(network.c.id == owner.network)
        return str(found or self._connection.execute(usual).scalar() or "public")

    def _note(self, gateway_id: int, time_ms: int, content: dict[str, Any]) -> None:
        text = msgspec.json.encode(content).decode()
        self._connection.execute(insert(event).values(gateway=gateway_id, time_ms=time_ms, kind=content["event"], content=text))


def _model(profile: str) -> tuple[str, str | None]:
    """Maker and model of a profile's id."""
    maker, _, model = profile.partition(".")
    return maker, model or None


def _number(value: Any, most: float) -> float | None:
    """A number within +-most; NaN, infinity and 10**400 are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if -most <= value <= most else None


def _apart(kept: Any, told: Site) -> bool:
    if told.lat is None or told.lon is None:
        return False
    return bool(max(abs(kept.lat - told.lat), abs(kept.lon - told.lon)) > SAME_PLACE_DEG)
