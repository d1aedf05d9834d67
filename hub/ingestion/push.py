"""The body that a device's stock firmware posts, and its headers, in; the same rows as any other out.

The profile is the one that the edge reads the device with. The device has no clock to be trusted: a row's time is its arrival.
"""

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from sqlalchemy import Connection

from adapters.decode import Fault, Reading, StreamDecoder, decoder
from adapters.profile import Profile
from hub.auth.tokens import Caller
from hub.front.json_rows import Posted, Source
from hub.ingestion.refusals import Refused
from hub.ingestion.sensors import Sensors, catalogue
from readings.sample import Channel, Schema

SILENT = frozenset({"no_data", "warming_up"})
"""What a device may say instead of values; nothing is wrong, and there is nothing to store."""
MOST_BYTES = 64 * 1024


class Kind(NamedTuple):
    """A sort of device: the word its stations and sensors begin with, and its profile."""

    word: str
    profile: str


AIRROHR = Kind("airrohr", "sensorcommunity.airrohr")
AIRGRADIENT = Kind("airgradient", "airgradient.local")


def row_of(
    kind: Kind, connection: Connection, caller: Caller, body: bytes, told: Mapping[str, str], now_ms: int
) -> Posted | None:
    """One row; None where the device says that it has nothing yet. `told`: headers, and `serial` of the path.

    Raises Refused for a body that is not this device's, or that does not say which device it is.
    """
    profile, heard = _heard(kind.profile)
    if len(body) > MOST_BYTES:
        raise Refused("body_unreadable", f"a device's body has at most {MOST_BYTES} bytes")
    result = next(iter(heard.feed(body)), Fault("schema_mismatch"))
    if isinstance(result, Fault):
        if result.code in SILENT:
            return None
        raise Refused("body_unreadable", result.code if not result.detail else f"{result.code}: {result.detail[:200]}")
    if all(scaled is None for scaled in result.scaled):
        return None
    serial = serial_of(body, result, told)
    local_id = f"{kind.word}-{serial}"
    sensors = Sensors(connection, caller)
    gateway, _ = sensors.find(None, local_id)
    names = Names(local_id, f"{kind.word} {serial}", serial)
    return _row(gateway, profile, result, names, sensors.schemas.get((gateway, local_id)), now_ms)


class Names(NamedTuple):
    """What a device is called here."""

    local_id: str
    station: str
    serial: str


def serial_of(body: bytes, reading: Reading, told: Mapping[str, str]) -> str:
    """The device's own number, from the path, the body, or the headers of its firmware. Raises Refused."""
    top = json.loads(body)  # which its decoder has read
    keys = ("serialno", "esp8266id", "esp32id", "raspiid")
    said = [told.get("serial"), reading.texts.get("serial"), *(top.get(key) for key in keys), told.get("x-sensor")]
    for one in said:
        if isinstance(one, str | int) and not isinstance(one, bool):
            # airgradient:84fce612f5b8 in the path, esp8266-12345678 in X-Sensor
            found = re.sub(r"[^a-z0-9]+", "", re.split(r"[:-]", str(one).strip().lower())[-1])[:16]
            if found:
                return found
    raise Refused("device_unnamed", "neither path, body nor headers name the device")


def _row(gateway: int, profile: Profile, reading: Reading, names: Names, known: Schema | None, now_ms: int) -> Posted:
    """Of the channels that devices of this profile may have, those that this one has given so far."""
    same = known is not None and known.profile == profile.id
    before = {channel.parameter for channel in known.channels} if known is not None and same else set()
    scaled = reading.scaled
    at = [i for i, channel in enumerate(reading.plan.channels) if scaled[i] is not None or channel.parameter in before]
    channels: tuple[Channel, ...] = tuple(reading.plan.channels[i] for i in at)
    firmware = reading.texts.get("firmware", "") or (known.firmware if known is not None and same else "")
    schema = Schema(names.local_id, profile.id, profile.sha256, _shown(firmware), channels)
    source = Source(schema, names.station, names.serial, described=True)
    return Posted(gateway, source, now_ms, tuple(scaled[i] for i in at), tuple(reading.flags[i] for i in at))


@cache
def _heard(profile_id: str) -> tuple[Profile, StreamDecoder]:
    profile = catalogue().get(profile_id)
    return profile, decoder(profile)


def _shown(text: str) -> str:
    return "".join(c for c in text[:64] if c.isprintable())
