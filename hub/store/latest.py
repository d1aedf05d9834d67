"""Sensors in, the newest sample of each out: what table `latest` holds."""

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import Connection, select

from hub.database.tables import latest as table


class Latest(NamedTuple):
    """A sensor's newest sample. `flags` None where all are 1; all 9 while `state` says that the sensor gives nothing."""

    sensor: int
    time_ms: int
    schema: int
    body: str
    flags: str | None
    received_ms: int
    state: str | None


COLUMNS = [table.c[name] for name in Latest._fields]


def latest(connection: Connection, sensor_ids: Iterable[int] | None = None) -> dict[int, Latest]:
    """By sensor; a sensor without any sample is left out. None: all sensors."""
    asked = select(*COLUMNS).order_by(table.c.sensor)
    if sensor_ids is not None:
        asked = asked.where(table.c.sensor.in_(list(sensor_ids)))
    return {row.sensor: Latest(*row) for row in connection.execute(asked)}
