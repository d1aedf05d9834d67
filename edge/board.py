"""What `status` and `tail` are shown: polled answers and the core's own figures in; immutable snapshots out.

Written by the core's thread only; read by the control socket's threads, who never ask the core.
"""

import time
from collections import deque
from collections.abc import Sequence
from itertools import count

from msgspec import Struct
from msgspec.structs import replace

from edge.control import Counted, LinkState, SensorState, Shown, Snapshot
from edge.export import by_parameter
from edge.poll import Polled
from readings.sample import Flag, Sample, Schema

RECENT = 1000
"""Samples kept for `tail`, over all sensors; one of 8 channels takes about 1 KB."""


class Figures(Struct, frozen=True):
    """The core's figures of one moment."""

    rows: int
    bytes: int
    pending: int
    uplink: LinkState
    clock: str
    disk: str
    disk_why: str
    counted: Counted = Counted()


class Board:
    """The newest state of each sensor, the last samples, the newest snapshot."""

    def __init__(self, gateway: str, version: str, sensors: Sequence[str]) -> None:
        self._sensors = {sensor: SensorState(sensor, "starting") for sensor in sensors}
        self._recent: deque[Shown] = deque(maxlen=RECENT)
        self._numbers = count(1)
        self._newest = Snapshot(gateway, version, time.monotonic(), tuple(self._sensors.values()))

    def snapshot(self) -> Snapshot:
        return self._newest

    def recent(self) -> list[Shown]:
        """The last samples, oldest first."""
        return list(self._recent)

    def state(self, sensor: str) -> str:
        return self._sensors[sensor].state

    def answered(self, schema: Schema, sample: Sample) -> None:
        values, flags = by_parameter(schema, sample.values, sample.flags)
        units = {channel.parameter: channel.unit for channel in schema.channels}
        at_ms = sample.at.wall_ms
        self._sensors[sample.sensor] = SensorState(sample.sensor, "ok", at_ms, time.monotonic(), values, units, flags)
        self._recent.append(Shown(next(self._numbers), sample.sensor, at_ms, values, units, flags))

    def failed(self, polled: Polled) -> None:
        """The last values and their time stay; their flags say that nothing newer came."""
        known = self._sensors[polled.sensor]
        if polled.state != known.state:
            shown = Shown(next(self._numbers), polled.sensor, polled.at.wall_ms, {}, {}, {}, polled.state, polled.why)
            self._recent.append(shown)
        flags = dict.fromkeys(known.flags, int(Flag.MISSING))
        self._sensors[polled.sensor] = replace(known, state=polled.state, why=polled.why, hint=polled.hint, flags=flags)

    def publish(self, figures: Figures) -> None:
        self._newest = Snapshot(
            self._newest.gateway,
            self._newest.version,
            time.monotonic(),
            tuple(self._sensors.values()),
            figures.rows,
            figures.bytes,
            figures.pending,
            figures.uplink,
            figures.clock,
            figures.disk,
            figures.disk_why,
            figures.counted,
        )
