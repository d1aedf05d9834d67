"""latest -> retained messages: `telemetry/<gateway>/<sensor>`, whenever a sensor's newest sample changes.

What stands at a private station or in a network with an embargo is left out; what turns so is taken back from the broker. `meta`
keeps which topics were told, so that this holds over a restart too and no topic is taken back that nobody knew.
Its cursor follows that of `latest`. The broker keeps nothing over a restart, so each new connection begins with all sensors.
"""

from collections.abc import Callable, Collection, Sequence
from time import monotonic
from typing import Protocol

import msgspec
from sqlalchemy import Connection, delete, insert, select, tuple_

from hub.database.engine import Database
from hub.database.tables import channel, gateway, meta, sensor
from hub.fleet.visibility import changes, hidden_gateways, told_sensors
from hub.followers.reader import Entry, Reader
from hub.front import cursor
from hub.store.latest import latest
from hub.store.values import values_of

SENSORS = 500
"""So many sensors are looked up at a time."""
FOLLOWER = "telemetry"
TOLD = "telemetry/told"
"""The key of `meta` under which the topics stand that the broker may hold."""
LOOK_S, ALL_S = 2.0, 60.0
"""So often it is looked whether anything changed hands or visibility, and so often everything is gone through regardless."""


class Outlet(Protocol):
    """Where messages go. `connections`: how many there have been; 0 or less while there is none now."""

    @property
    def connections(self) -> int: ...
    def publish(self, topic: str, payload: bytes) -> None:
        """Retained, QoS 1; an empty one takes back what was there. Raises Retry when the connection is gone."""


class Telemetry:
    """One step publishes what a few entries changed, then moves the cursor: a message may come twice, none is missing."""

    name = FOLLOWER

    def __init__(self, database: Database, reader: Reader, outlet: Outlet, clock: Callable[[], float] = monotonic) -> None:
        self._database = database
        self._reader = reader
        self._outlet = outlet
        self._clock = clock
        self._seen_connection = 0
        self._channels: dict[int, list[tuple[str, str]]] = {}
        self._topics: dict[int, str] = {}
        self._told: set[str] | None = None
        self._look_at = self._all_at = 0.0
        self._seen_change: tuple[int, int] | None = None

    def step(self) -> bool:
        """Whether there was anything to do and a connection to do it on. Raises DatabaseAway, Retry."""
        connection_no = self._outlet.connections
        if connection_no <= 0:
            return False
        with self._database.read() as connection:
            upto = max(0, cursor.position(connection, "latest"))
            position = cursor.position(connection, FOLLOWER)
            if self._told is None:
                found = connection.execute(select(meta.c.value).where(meta.c.key == TOLD)).scalar()
                self._told = set() if found is None else msgspec.json.decode(found, type=set[str])
        if connection_no != self._seen_connection or position == cursor.MARKED:
            self._publish_all(everything=True)
            self._move(upto)
            self._seen_connection = connection_no
            return True
        if self._changed():
            self._publish_all(everything=False)
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

    def _changed(self) -> bool:
        """Whether something may have moved or changed its visibility since the last time."""
        now = self._clock()
        if now < self._look_at:
            return False
        self._look_at = now + LOOK_S
        return self._change() != self._seen_change or now >= self._all_at

    def _change(self) -> tuple[int, int]:
        with self._database.read() as connection:
            return changes(connection)

    def _publish_all(self, *, everything: bool) -> None:
        """All sensors, or only those whose topic is not told yet; then takes back what may be told no more."""
        self._look_at, self._all_at = self._clock() + LOOK_S, self._clock() + ALL_S
        self._seen_change = self._change()
        with self._database.read() as connection:
            sensors = list(connection.execute(select(sensor.c.id).order_by(sensor.c.id)).scalars())
        told = self._publish(sensors, everything=everything)
        if back := sorted((self._told or set()) - told):
            with self._database.read() as connection:
                hidden = hidden_gateways(connection)
            for gateway_name in sorted({topic.split("/")[1] for topic in back} & hidden):
                self._outlet.publish(f"telemetry/{gateway_name}/status", b"")
            for topic in back:
                self._outlet.publish(topic, b"")
            self._keep(told)

    def _publish(self, sensors: Sequence[int], *, everything: bool = True) -> set[str]:
        """The newest sample of these sensors; returns the topics that may be told. Nothing is published inside a transaction."""
        known, found = self._told or set(), set[str]()
        for at in range(0, len(sensors), SENSORS):
            messages = self._messages(sensors[at : at + SENSORS])
            found |= messages.keys()
            if not messages.keys() <= (self._told or set()):
                self._keep((self._told or set()) | messages.keys())
            for topic, payload in messages.items():
                if everything or topic not in known:
                    self._outlet.publish(topic, payload)
        return found

    def _keep(self, topics: set[str]) -> None:
        """Before a topic is told, and after it was taken back: what the broker holds is always among them."""
        with self._database.write() as connection:
            connection.execute(delete(meta).where(meta.c.key == TOLD))
            connection.execute(insert(meta).values(key=TOLD, value=msgspec.json.encode(sorted(topics)).decode()))
        self._told = topics

    def _messages(self, sensors: Sequence[int]) -> dict[str, bytes]:
        """By topic. A sample from before the sensor stood where it stands now was another place's."""
        with self._database.read() as connection:
            since = told_sensors(connection, sensors)
            rows = {number: row for number, row in latest(connection, since).items() if row.time_ms >= since[number]}
            self._learn(connection, rows.keys(), {row.schema for row in rows.values()})
        return {
            topic: msgspec.json.encode(values_of(row.time_ms, self._channels[row.schema], row.body, row.flags))
            for row in rows.values()
            if (topic := self._topics.get(row.sensor))
        }

    def _learn(self, connection: Connection, sensors: Collection[int], schemas: set[int]) -> None:
        """Topics and channels that were not met before. Both never change while a sensor may be told."""
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
