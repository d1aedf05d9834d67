"""latest -> retained messages: `telemetry/<gateway>/<sensor>`, whenever a sensor's newest sample changes.

What stands at a private station is left out.
Its cursor follows that of `latest`. The broker keeps nothing over a restart, so each new connection begins with all sensors.
"""

from collections.abc import Collection, Sequence
from typing import Protocol

import msgspec
from sqlalchemy import Connection, select, tuple_

from hub.database.engine import Database
from hub.database.tables import channel, gateway, sensor
from hub.fleet.visibility import private_sensors
from hub.followers.reader import Entry, Reader
from hub.front import cursor
from hub.store.latest import latest
from hub.store.values import values_of

SENSORS = 500
"""So many sensors are looked up at a time."""
FOLLOWER = "telemetry"


class Outlet(Protocol):
    """Where messages go. `connections`: how many there have been; 0 or less while there is none now."""

    @property
    def connections(self) -> int: ...
    def publish(self, topic: str, payload: bytes) -> None:
        """Retained, QoS 1. Raises Retry when the connection is gone."""


class Telemetry:
    """One step publishes what a few entries changed, then moves the cursor: a message may come twice, none is missing."""

    name = FOLLOWER

    def __init__(self, database: Database, reader: Reader, outlet: Outlet) -> None:
        self._database = database
        self._reader = reader
        self._outlet = outlet
        self._seen_connection = 0
        self._channels: dict[int, list[tuple[str, str]]] = {}
        self._topics: dict[int, str] = {}

    def step(self) -> bool:
        """Whether there was anything to do and a connection to do it on. Raises DatabaseAway, Retry."""
        connection_no = self._outlet.connections
        if connection_no <= 0:
            return False
        with self._database.read() as connection:
            upto = max(0, cursor.position(connection, "latest"))
            position = cursor.position(connection, FOLLOWER)
        if connection_no != self._seen_connection or position == cursor.MARKED:
            self._publish(None)
            self._move(upto)
            self._seen_connection = connection_no
            return True
        with self._database.read() as connection:
            entries = self._reader.after(connection, position, upto=upto)
        if not entries:
            return False
        self._publish(self._touched(entries))
        self._move(entries[-1].id)
        return True

    def lag(self) -> int:
        with self._database.read() as connection:
            return cursor.newest_ready(connection) - max(0, cursor.position(connection, FOLLOWER))

    def _move(self, to: int) -> None:
        with self._database.write() as connection:
            cursor.claim(connection, FOLLOWER)
            cursor.move(connection, FOLLOWER, to)

    def _publish(self, sensors: Sequence[int] | None) -> None:
        """The newest sample of these sensors; None: of all. Nothing is published inside a transaction."""
        if sensors is None:
            with self._database.read() as connection:
                sensors = list(connection.execute(select(sensor.c.id).order_by(sensor.c.id)).scalars())
        for at in range(0, len(sensors), SENSORS):
            for topic, payload in self._messages(sensors[at : at + SENSORS]):
                self._outlet.publish(topic, payload)

    def _messages(self, sensors: Sequence[int]) -> list[tuple[str, bytes]]:
        with self._database.read() as connection:
            hidden = private_sensors(connection, sensors)
            rows = latest(connection, [sensor_id for sensor_id in sensors if sensor_id not in hidden])
            self._learn(connection, rows.keys(), {row.schema for row in rows.values()})
        return [
            (topic, msgspec.json.encode(values_of(row.time_ms, self._channels[row.schema], row.body, row.flags)))
            for row in rows.values()
            if (topic := self._topics.get(row.sensor))
        ]

    def _learn(self, connection: Connection, sensors: Collection[int], schemas: set[int]) -> None:
        """Topics and channels that were not met before. Both never change."""
        if new := sorted(set(sensors) - self._topics.keys()):
            asked = select(sensor.c.id, gateway.c.name, sensor.c.local_id).join(gateway, gateway.c.id == sensor.c.gateway)
            for sensor_id, gateway_name, local_id in connection.execute(asked.where(sensor.c.id.in_(new))):
                self._topics[sensor_id] = f"telemetry/{gateway_name}/{local_id}"
        if unknown := sorted(schemas - self._channels.keys()):
            asked_too = select(channel.c.schema, channel.c.parameter, channel.c.unit).where(channel.c.schema.in_(unknown))
            for schema, parameter, unit in connection.execute(asked_too.order_by(channel.c.schema, channel.c.idx)):
                self._channels.setdefault(schema, []).append((parameter, unit))

    def _touched(self, entries: Sequence[Entry]) -> list[int]:
        """The sensors that samples or events of these entries belong to."""
        found = {known.sensor for entry in entries for known, _ in entry.sample_blocks()}
        silent = {(entry.batch.gateway, row.sensor) for entry in entries for _, row in entry.events() if row.sensor}
        if silent:
            asked = select(sensor.c.id).where(tuple_(sensor.c.gateway, sensor.c.local_id).in_(sorted(silent)))
            with self._database.read() as connection:
                found.update(connection.execute(asked).scalars())
        return sorted(found)
