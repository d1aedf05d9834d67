"""Sensors or gateways in; those that stand at private stations only out: nothing of them is told to who watches the broker."""

from collections.abc import Iterable

from sqlalchemy import Connection, func, select

from hub.database.tables import deployment, gateway, meta, sensor, station

PRIVATE = "private"


def private_sensors(connection: Connection, sensors: Iterable[int]) -> set[int]:
    """Of these sensors those that stand at a private station now."""
    asked = select(deployment.c.sensor).join(station, station.c.id == deployment.c.station)
    here = asked.where(deployment.c.to_ms.is_(None), station.c.visibility == PRIVATE, deployment.c.sensor.in_(list(sensors)))
    return set(connection.execute(here).scalars())


def private_gateways(connection: Connection) -> set[str]:
    """Gateways with a private station and no other, and those whose station shall be private once it is known."""
    at = select(gateway.c.name, func.count().label("all"), func.count().filter(station.c.visibility == PRIVATE).label("private"))
    standing = (
        at.join(sensor, sensor.c.gateway == gateway.c.id)
        .join(deployment, (deployment.c.sensor == sensor.c.id) & deployment.c.to_ms.is_(None))
        .join(station, station.c.id == deployment.c.station)
        .group_by(gateway.c.name)
    )
    found = {row.name for row in connection.execute(standing) if row.all == row.private}
    told = select(meta.c.key).where(meta.c.key.startswith("visibility/"), meta.c.value == PRIVATE)
    ids = [int(key.removeprefix("visibility/")) for key in connection.execute(told).scalars()]
    return found | set(connection.execute(select(gateway.c.name).where(gateway.c.id.in_(ids))).scalars())
