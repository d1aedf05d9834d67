"""A sensor of network.yaml and a moment in; what it would say then, as its profile's bytes with their meaning, out.

The meaning is read back from the bytes by the profile's own decoder: a log line never claims more than the wire carried.
"""

import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from adapters.decode import Reading, decoder, encoder
from adapters.decode.modbus import register
from adapters.decode.registers import RegisterDecoder
from adapters.decode.registers import encoder as register_encoder
from adapters.profile import JsonWire, LinesWire, Order, Profile, RegisterWire
from edge.config import SensorConfig
from edge.day import Day, knows
from readings.errors import Stop

Clock = Callable[[], int]
"""Unix time [ms]."""
KINDS = ("ask", "wake", "sleep", "open", "close")
QUIET_MS, OLDEST_MS = 250, 2000
"""A meter renews its registers after a pause between requests, so that the requests of one poll see one moment."""


class Answer(Struct, frozen=True):
    """`shown` is the answer as a log line shows it: {"hex": ...} or {"json": ...}. `values` by parameter, canonical units."""

    raw: bytes
    shown: Mapping[str, Any]
    values: Mapping[str, float | None]


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


def _rfc3339(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Voice:
    """A sensor whose every answer is whole: one frame, or one JSON body. `ask`: what it waits for, None = talks by itself."""

    def __init__(self, profile: Profile, day: Day, clock: Clock = wall_ms) -> None:
        self.ask: bytes | None = profile.ask[0].data if profile.ask else None
        self._commands = [(kind, command) for kind in KINDS for command in getattr(profile, kind)]
        self.asleep = False
        self._day, self._clock = day, clock
        self._names = _spoken(profile)
        self._encode, self._decoder = encoder(profile), decoder(profile)
        self._is_json = isinstance(profile.wire, JsonWire)
        written = profile.every.items() if isinstance(profile.wire, (JsonWire, LinesWire)) else ()
        self._times = tuple(name for name, field in written if field.type == "time")

    def say(self) -> Answer:
        now = self._clock()
        said: dict[str, float | int | str] = {name: self._day.truth(name, now) for name in self._names}
        raw = self._encode({**said, **dict.fromkeys(self._times, _rfc3339(now))})
        assert isinstance(raw, bytes)  # noqa: S101  # only registers encode into an image
        return Answer(raw, {"json": json.loads(raw)} if self._is_json else {"hex": raw.hex()}, self._meaning(raw))

    def obey(self, heard: bytes) -> tuple[bytes, bytes | None, bool]:
        """The first command among what was heard, if any: what is left behind it, its answer, whether it asks for a sample."""
        found = [(heard.find(command.data), -len(command.data), kind, command) for kind, command in self._commands]
        there = sorted((one for one in found if one[0] >= 0), key=lambda one: one[:2])
        if not there:
            return heard, None, False
        at, _, kind, command = there[0]
        if kind in ("wake", "sleep"):
            self.asleep = kind == "sleep"
        return heard[at + len(command.data) :], command.answer, kind == "ask" and not command.answer and not self.asleep

    def _meaning(self, raw: bytes) -> Mapping[str, float | None]:
        """{} for an answer that means no reading, as `warming up` would."""
        results = self._decoder.feed(raw)
        return results[-1].values if results and isinstance(results[-1], Reading) else {}


class Meter:
    """A Modbus device: registers that hold still while it is asked. Reserved registers between known ones read as zero.

    `functions`: those whose registers it has; `crc_order`: how the checksums of its answers stand on a serial line.
    """

    def __init__(self, profile: Profile, day: Day, clock: Clock = wall_ms) -> None:
        assert isinstance(profile.wire, RegisterWire)  # noqa: S101  # edge.config lets no other be reached over Modbus
        self.crc_order: Order = profile.wire.crc_order
        self._commands = {command.data: command.answer or command.data for command in profile.open}
        self._day, self._clock = day, clock
        self._names = _spoken(profile)
        self._encode, self._decoder = register_encoder(profile), RegisterDecoder(profile)
        self.functions = frozenset(request.function for request in self._decoder.requests)
        self._image: dict[int, int] = {}
        self._renewed_ms = self._asked_ms = 0

    def obeys(self, request: bytes) -> bytes:
        """What it answers to a command of its profile; b"" for any other."""
        return self._commands.get(request, b"")

    def read(self, function: int, first: int, count: int) -> tuple[list[int], Mapping[str, float | None]] | None:
        """Words from an address on, and the values that they hold whole; None where the device has no registers."""
        self._renew()
        begin = register(function, first)
        known = [at for at in self._image if at >> 16 == function]
        if not known or begin < min(known) or begin + count - 1 > max(known):
            return None
        asked = {at: self._image.get(at, 0) for at in range(begin, begin + count)}
        held = {name: value for name, value in self._decoder.reading(asked).values.items() if value is not None}
        return list(asked.values()), held

    def _renew(self) -> None:
        now = self._clock()
        quiet = not 0 <= now - self._asked_ms < QUIET_MS
        if quiet or not 0 <= now - self._renewed_ms < OLDEST_MS:
            self._image = self._encode({name: self._day.truth(name, now) for name in self._names})
            self._renewed_ms = now
        self._asked_ms = now


def voice(sensor: SensorConfig, seed: int) -> Voice:
    """Raises Stop when the day does not know what a device of this profile measures."""
    return Voice(sensor.profile, Day(seed, sensor.id))


def meter(sensor: SensorConfig, seed: int) -> Meter:
    """Raises Stop like voice()."""
    return Meter(sensor.profile, Day(seed, sensor.id))


def _spoken(profile: Profile) -> tuple[str, ...]:
    """Raises Stop when the synthetic day has no rule for one of the profile's parameters."""
    unknown = [name for name in profile.numbers if not knows(name)]
    if unknown:
        raise Stop(f"the synthetic day knows no {', '.join(unknown)}", what=profile.id, hint="add a rule to edge/day.py")
    return profile.numbers
