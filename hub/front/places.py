"""Names that a gateway uses in; the ids of sensor, station and deployment out, made where missing. In settle's transaction."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, delete, insert, select, update

from hub.database.tables import deployment, event, gateway, meta, sensor, station

MAX_NAME = 200
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


class Places:
    """Upserts for one transaction. `sensors` may be shared by transactions as long as each of them commits."""

    def __init__(self, connection: Connection, sensors: dict[tuple[int, str], int]) -> None:
        self._connection = connection
        self._sensors = sensors

    def sensor(self, gateway_id: int, local_id: str) -> int:
        """The id of a gateway's sensor."""
        known = self._sensors.get((gateway_id, local_id))
        if known is None:
            asked = select(sensor.c.id).where(sensor.c.gateway == gateway_id, sensor.c.local_id == local_id)
            known = self._connection.execute(asked).scalar()
            if known is None:
                network, _ = self._gateway(gateway_id)
                row = {"network": network, "gateway": gateway_id, "local_id": local_id}
                known = self._connection.execute(insert(sensor).values(**row).returning(sensor.c.id)).scalar_one()
            self._sensors[gateway_id, local_id] = known
        return known

    def describe(self, sensor_id: int, profile: str) -> None:
        """Maker and model, from a profile's id `<maker>.<model>`."""
        maker, _, model = profile.partition(".")
        self._connection.execute(update(sensor).where(sensor.c.id == sensor_id).values(maker=maker, model=model or None))

    def station(self, gateway_id: int, site: Site, told_ms: int | None = None) -> int:
        """The station of this name (without one: the gateway's). Coordinates are set once.

        Other ones are an event of the time `told_ms`; None: it has been told before.
        """
        network, own_name = self._gateway(gateway_id)
        called = site.name or own_name
        asked = select(station).where(station.c.network == network, station.c.name == called)
        found = self._connection.execute(asked).one_or_none()
        place = {"lat": site.lat, "lon": site.lon, "alt": site.alt, "zone": site.zone}
        if found is None:
            row = {"network": network, "name": called, "visibility": self._visibility(gateway_id), **place}
            return int(self._connection.execute(insert(station).values(**row).returning(station.c.id)).scalar_one())
        if found.lat is None and site.lat is not None:
            self._connection.execute(update(station).where(station.c.id == found.id).values(**place))
        elif told_ms is not None and found.lat is not None and _apart(found, site):
            told = {"event": "site_differs", "station": called, "kept": [found.lat, found.lon], "told": [site.lat, site.lon]}
            self._note(gateway_id, told_ms, told)
        return int(found.id)

    def station_without_site(self, gateway_id: int) -> int:
        """Where the start row is lost: the station of the gateway's other sensors, else one of the gateway's own name."""
        asked = select(deployment.c.station).join(sensor, sensor.c.id == deployment.c.sensor)
        newest = asked.where(sensor.c.gateway == gateway_id).order_by(deployment.c.from_ms.desc(), deployment.c.sensor)
        found = self._connection.execute(newest.limit(1)).scalar()
        return int(found) if found is not None else self.station(gateway_id, read_site(None))

    def deploy(self, sensor_id: int, station_id: int, from_ms: int) -> None:
        """From this time on the sensor stands at this station, up to the next time that is known. Any order of telling."""
        row = deployment.c
        asked = select(row.from_ms, row.to_ms, row.station).where(row.sensor == sensor_id).order_by(row.from_ms)
        known = self._connection.execute(asked).all()
        before = [d for d in known if d.from_ms <= from_ms]
        if before and before[-1].station == station_id:
            return
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
        made = {"sensor": sensor_id, "station": station_id, "from_ms": from_ms, "to_ms": to_ms}
        self._connection.execute(insert(deployment).values(**made))

    def _gateway(self, gateway_id: int) -> tuple[int, str]:
        found = self._connection.execute(select(gateway.c.network, gateway.c.name).where(gateway.c.id == gateway_id)).one()
        return int(found.network), str(found.name)

    def _visibility(self, gateway_id: int) -> str:
        """What `gateway enrol --visibility` left for the station's making."""
        key = f"visibility/{gateway_id}"
        found = self._connection.execute(select(meta.c.value).where(meta.c.key == key)).scalar()
        self._connection.execute(delete(meta).where(meta.c.key == key))
        return str(found or "public")

    def _note(self, gateway_id: int, time_ms: int, content: dict[str, Any]) -> None:
        text = msgspec.json.encode(content).decode()
        self._connection.execute(insert(event).values(gateway=gateway_id, time_ms=time_ms, kind=content["event"], content=text))


def _number(value: Any, most: float) -> float | None:
    """A number within +-most; NaN, infinity and 10**400 are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if -most <= value <= most else None


def _apart(kept: Any, told: Site) -> bool:
    if told.lat is None or told.lon is None:
        return False
    return bool(max(abs(kept.lat - told.lat), abs(kept.lon - told.lon)) > SAME_PLACE_DEG)
