"""A profile and an address in; one sensor's answers as scaled integers with flags and the moment of arrival out.

With `ask`: flush, ask, the first frame after it. A sensor that talks by itself is listened to all the time, because its kernel
buffer knows no times: an answer is the newest good frame since the last one, or (`reduce: mean`) the mean of them all.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
from msgspec import Struct

from adapters.attended import Attended, needed
from adapters.decode import Reading, StreamDecoder, decoder
from adapters.decode.jsonpath import JsonDecoder
from adapters.decode.lines import LinesDecoder
from adapters.decode.reading import Plan
from adapters.decode.registers import RegisterDecoder
from adapters.profile import FrameWire, JsonWire, LinesWire, Link, Profile, RegisterWire
from adapters.source import KEPT_FRAMES, Asked, Caller, Fetched, Listened, Played, Polled, Pushed, Source
from adapters.transport.base import Address
from readings.errors import Stop, Trouble
from readings.sample import Flag, Schema, quantise

Reduce = Literal["last", "mean"]


class Answer(Struct, frozen=True):
    """One sample's content. `values` and `flags` in the order of the schema's channels; `raw`: the bytes it was read from.

    `flags` are the decoder's: 1, 3 (a doubt of the profile, a number written as text) or 9 (missing). `notes` name what was odd;
    `counted`: frames, bytes and numbers dropped since the last call, by fault or note.
    """

    values: tuple[int | None, ...]
    flags: tuple[int, ...]
    arrived_mono_ns: int
    instrument_time_ms: int | None = None
    texts: Mapping[str, str] = {}
    raw: bytes = b""
    counted: dict[str, int] = {}
    notes: tuple[str, ...] = ()


class Sensor:
    """One sensor, used by its port's thread only. After a failure at the port it is closed; `sample` opens it again."""

    def __init__(self, profile: Profile, source: Source, plan: Plan, *, sensor_id: str, every_s: float, reduce: Reduce) -> None:
        self.profile = profile
        self._source = source
        self._plan = plan.averaged(round(every_s)) if reduce == "mean" else plan
        self._reduce = reduce
        self._counted: Counter[str] = Counter()
        self._open = False
        self._seen = Seen(self._plan) if isinstance(profile.wire, (JsonWire, LinesWire)) and profile.wire.sparse else None
        self.schema = Schema(sensor_id, profile.id, profile.sha256, "", self._plan.channels)

    def open(self) -> None:
        """Raises Retry with a `state`: unplugged, no_permission, busy, refused, error."""
        if not self._open:
            self._source.open()
            self._open = True

    def close(self) -> None:
        if self._open:
            self._open = False
            self._source.close()

    def sample(self, deadline_s: float) -> Answer:
        """Blocks for at most about `deadline_s`. `schema` may be another one afterwards: read it again.

        Raises WarmingUp, NoData; Unanswered, Unplugged, Refused, LinkFailed; Garbage. What a failure dropped is counted in the
        next answer.
        """
        try:
            self.open()
            heard = self._source.hear(deadline_s, self._counted)
        except Trouble as trouble:
            if getattr(trouble, "state", "") in ("unplugged", "error") and not getattr(trouble, "keep_open", False):
                self.close()
            raise
        texts, notes = heard.readings[-1].texts, heard.readings[-1].notes
        if self._reduce == "mean":
            values, flags = _mean(heard.readings, self._plan)
        elif len(heard.readings) == 1:
            values, flags = heard.readings[-1].scaled, heard.readings[-1].flags
        else:
            values, flags = _together(heard.readings)
            texts = {name: text for reading in heard.readings for name, text in reading.texts.items()}
            notes = tuple(dict.fromkeys(note for reading in heard.readings for note in reading.notes))
        self._note_firmware(texts)
        for note in notes:
            self._counted[note] += 1
        counted, self._counted = dict(self._counted), Counter()
        values, flags = self._seen.of(values, flags) if self._seen else (values, flags)
        if self._seen and self._seen.channels != self.schema.channels:
            self.schema = msgspec.structs.replace(self.schema, channels=self._seen.channels)
        return Answer(values, flags, heard.arrived_ns, None, texts, heard.raw, counted, notes)

    @property
    def lead_s(self) -> float:
        """So long before its turn a sensor that sleeps in between wants to be woken [s]."""
        return float(getattr(self._source, "lead_s", 0.0))

    def _note_firmware(self, texts: Mapping[str, str]) -> None:
        firmware = texts.get("firmware", "")
        if firmware and firmware != self.schema.firmware:
            self.schema = msgspec.structs.replace(self.schema, firmware=firmware)


class Seen:
    """Of the channels that devices of one profile may have, those that this one has given since the start."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._at: list[int] = []
        self.channels = plan.channels

    def of(self, values: tuple[int | None, ...], flags: tuple[int, ...]) -> tuple[tuple[int | None, ...], tuple[int, ...]]:
        """The values and flags of `channels`, after a look at what is new; all of them while nothing was ever there."""
        new = [at for at, value in enumerate(values) if value is not None and at not in self._at]
        if new:
            self._at = sorted((*self._at, *new))
            self.channels = tuple(self._plan.channels[at] for at in self._at)
        if not self._at:
            return values, flags
        return tuple(values[at] for at in self._at), tuple(flags[at] for at in self._at)


def open_sensor(profile: Profile, address: Address, *, sensor_id: str, every_s: float, reduce: Reduce = "last") -> Sensor:
    """A sensor that is not opened yet: an absent device is no mistake. Raises Stop where profile and address do not fit."""
    streams = isinstance(profile.wire, (FrameWire, LinesWire)) and not profile.ask and address.kind == "serial"
    if reduce == "mean" and not streams:
        raise Stop("reduce: mean", what=f"sensor {sensor_id}", hint="it is for sensors that talk by themselves: leave it out")
    heard = decoder(profile)
    source = _source(profile, address, heard, KEPT_FRAMES if reduce == "mean" else 0, every_s)
    return Sensor(profile, source, heard.plan, sensor_id=sensor_id, every_s=every_s, reduce=reduce)


def fits(profile: Profile, address: Address) -> str:
    """Why a profile cannot be used at an address, with what can; '' when it can."""
    if address.kind == "replay":
        return ""
    grammar, kinds, shown = {
        FrameWire: ("frames", ("serial",), "serial:/dev/ttyUSB0"),
        LinesWire: ("lines of text", ("serial",), "serial:/dev/ttyUSB0"),
        RegisterWire: (
            "Modbus registers",
            ("modbus-rtu", "modbus-tcp"),
            "modbus-rtu:/dev/ttyUSB0?unit=1, modbus-tcp://HOST:502?unit=1",
        ),
        JsonWire: ("JSON", ("http", "https", "listen"), "http://HOST/path, listen:/path/TOKEN"),
    }[type(profile.wire)]
    if isinstance(profile.wire, JsonWire) and address.kind in kinds and _lists(profile.wire):
        return f"{profile.id} answers with many readings, and asking clouds is not in this version: write replay:FILE"
    return "" if address.kind in kinds else f"{profile.id} speaks {grammar}: write {shown} or replay:FILE"


def _lists(wire: JsonWire) -> bool:
    """Whether one answer may hold readings of several devices or moments."""
    return any(path.endswith("[]") for path in wire.rows) and not wire.newest


def line_of(profile: Profile, address: Address) -> Link:
    """The line settings of a serial address: what it says itself, else the profile's."""
    return msgspec.structs.replace(profile.link, **address.line) if address.line else profile.link


def _source(profile: Profile, address: Address, heard: StreamDecoder, keep: int, every_s: float) -> Source:
    if why := fits(profile, address):
        raise Stop(why.partition(": ")[0], what=address.text, hint=why.partition(": ")[2])
    if address.kind == "replay":
        from adapters.transport.replay import Replay

        assert address.path is not None  # noqa: S101  # parse_address gives one
        return Played(heard, Replay(address.path))
    if isinstance(heard, RegisterDecoder):
        return Polled(heard, _caller(profile, address, heard), address.unit or 0, profile.open)
    if address.kind == "listen":
        from adapters.transport.listen import door_at

        return Pushed(heard, door_at(address.host, address.port, address.allow), address.url, every_s)
    if isinstance(heard, JsonDecoder):
        from adapters.transport import web

        return Fetched(heard, address, web.get)
    from adapters.transport.serial import line_at

    assert address.path is not None  # noqa: S101  # parse_address gives one
    line = line_at(address.path, profile.link)
    if isinstance(heard, LinesDecoder):
        heard.midway = not profile.ask
    source: Source = Listened(heard, line, keep) if not profile.ask else Asked(heard, line, profile.ask)
    return Attended(source, line, profile, every_s) if needed(profile) else source


def _caller(profile: Profile, address: Address, heard: RegisterDecoder) -> Caller:
    if address.kind == "modbus-rtu" and address.path is not None:
        from adapters.transport.rtu import caller_at

        return caller_at(address.path, line_of(profile, address), heard.crc_order)
    from adapters.transport.modbus import connection_to

    return connection_to(address.host, address.port)


def _together(readings: Sequence[Reading]) -> tuple[tuple[int | None, ...], tuple[int, ...]]:
    """Answers of several kinds as one: each number from the newest that holds it."""
    values, flags = list(readings[0].scaled), list(readings[0].flags)
    for reading in readings[1:]:
        for at, (value, flag) in enumerate(zip(reading.scaled, reading.flags, strict=True)):
            if value is not None:
                values[at], flags[at] = value, flag
    return tuple(values), tuple(flags)


def _mean(readings: Sequence[Reading], plan: Plan) -> tuple[tuple[int | None, ...], tuple[int, ...]]:
    """The means of the good frames' numbers; the worst flag of those that count."""
    values: list[int | None] = []
    flags: list[int] = []
    for at, scale in enumerate(plan.scales):
        held = [(raw, reading.flags[at]) for reading in readings if (raw := reading.numbers[at]) is not None]
        mean = sum(raw for raw, _ in held) / len(held) if held else None
        values.append(None if mean is None else quantise(mean * scale.factor + scale.offset, scale.exponent))
        flags.append(max((flag for _, flag in held), default=int(Flag.MISSING)))
    return tuple(values), tuple(flags)
