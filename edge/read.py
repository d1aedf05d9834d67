"""One sensor, one poll: its bytes, values and flags out, or why there are none. For `harmattan-edge read`."""

import time
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from adapters.profile import Profile
from adapters.sensor import open_sensor
from adapters.transport.base import Address
from edge.health import Clock
from edge.quality import Hints
from readings.errors import Trouble
from readings.sample import Sample, rfc3339, unscale

NAMES = {1: "good", 2: "not evaluated", 3: "suspect", 4: "fail", 9: "missing"}
LONGEST_WAIT_S = 0.5
"""A device that is ready after so little is asked again; one that needs longer is warming up, and that is the answer."""


class Live(Struct, frozen=True):
    """`state`: ok, warming_up, no_data, no_answer, garbage, error, ...; values only with ok, 0 being one of them."""

    profile: str
    at: str
    state: str
    time: str | None = None
    raw: str = ""
    values: Mapping[str, float | None] = {}
    units: Mapping[str, str] = {}
    flags: Mapping[str, int] = {}
    texts: Mapping[str, str] = {}
    notes: tuple[str, ...] = ()
    counted: Mapping[str, int] = {}
    why: str = ""
    hint: str = ""


def read(profile: Profile, address: Address, *, every_s: float = 60.0) -> Live:
    """One live answer. Raises Stop where profile and address do not fit."""
    clock = Clock()
    sensor = open_sensor(profile, address, sensor_id="read", every_s=every_s)
    try:
        answer = _answer(sensor, profile.link.reply_timeout_s)
    except Trouble as trouble:
        state = getattr(trouble, "state", "error") or "no_answer"
        return Live(profile.id, address.text, state, why=trouble.why, hint=trouble.hint)
    finally:
        sensor.close()
    at = clock.moment_at(answer.arrived_mono_ns)
    channels = sensor.schema.channels
    judged = Hints(profile, {}).flagged(sensor.schema, Sample("read", at, answer.values, answer.flags))
    names = [channel.parameter for channel in channels]
    return Live(
        profile.id,
        address.text,
        "ok",
        rfc3339(at.wall_ms),
        answer.raw.hex(" "),
        {c.parameter: unscale(value, c.exponent) for c, value in zip(channels, answer.values, strict=True)},
        {channel.parameter: channel.unit for channel in channels},
        dict(zip(names, judged.flags, strict=True)),
        answer.texts,
        answer.notes,
        answer.counted,
    )


def _answer(sensor: Any, deadline_s: float) -> Any:
    """The first answer, past what is ready in a moment."""
    until_s = time.monotonic() + deadline_s
    while True:
        try:
            return sensor.sample(max(0.1, until_s - time.monotonic()))
        except Trouble as trouble:
            again_s = getattr(trouble, "again_s", None)
            if again_s is None or again_s > LONGEST_WAIT_S or time.monotonic() + again_s >= until_s:
                raise
            time.sleep(again_s)


def lines(live: Live) -> list[str]:
    """For a person: the bytes, then a line for each value."""
    told = [f"{live.profile} at {live.at}: {live.state}" + (f" at {live.time}" if live.time else "")]
    if live.state != "ok":
        return [f"{told[0]}: {live.why}" + (f"; {live.hint}" if live.hint else "")]
    told += [f"  raw  {live.raw}"]
    for name, value in live.values.items():
        shown = "-" if value is None else f"{value:.12g}"
        told.append(f"  {name:<28} {shown:>12} {live.units[name]:<8} {NAMES.get(live.flags[name], '')}".rstrip())
    told += [f"  {name:<28} {text}" for name, text in live.texts.items()]
    told += [f"  note: {note}" for note in live.notes]
    told += [f"  dropped: {count} x {what}" for what, count in live.counted.items() if what not in live.notes]
    return told
