"""The JSON of one posted row in; its sensor, time and values in canonical units out, or why it is refused. No I/O here."""

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct

from hub.answers import EPOCH, MILLISECOND, rfc3339
from hub.ingestion.numbers import NotFinite, Value, convert, parameter_of, refuse_sentinel, shown, unit_of, value_of
from hub.ingestion.refusals import Refused

SENSOR = re.compile(r"(?:([a-z0-9][a-z0-9-]{1,30})/)?([a-z0-9][a-z0-9_-]{0,30})")
TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?(Z|z|[+-]\d\d:\d\d)?")
MEMBERS = frozenset({"sensor", "time", "values", "units"})
FIRST_MS = 946_684_800_000
"""2000-01-01: a clock that was never set begins in 1970 or 1980."""
AHEAD_MS = 600_000
MOST_VALUES = 64
MOST_BYTES = 16_384
Sentinels = Callable[[str, str], frozenset[Decimal]]
"""(parameter, unit sent) -> what the sensor's own profile lists as no value."""
Find = Callable[[str | None, str], tuple[int, Sentinels]]
"""(gateway's name, None for the caller's own; local id) -> the gateway's id, the sensor's sentinels. Raises Refused."""


class Checked(Struct, frozen=True):
    """A row that may be stored. `values`: by (parameter, unit)."""

    gateway: int
    sensor: str
    time_ms: int
    values: Mapping[tuple[str, str], Value]


def check(raw: bytes, now_ms: int, find: Find) -> Checked:
    """Raises Refused."""
    row = _read(raw)
    named_gateway, sensor = _sensor(row["sensor"])
    gateway, sentinels = find(named_gateway, sensor)
    time_ms = _time(row["time"], now_ms)
    return Checked(gateway, sensor, time_ms, _values(row["values"], row["units"], sentinels))


def split(body: bytes) -> list[bytes] | None:
    """The rows of a body, each as its own text; None where it is no list of rows at all.

    NaN and Infinity are no JSON, yet one row with them must not harm the others: then the body is read once more.
    """
    try:
        return list(map(bytes, msgspec.json.decode(body, type=list[msgspec.Raw])))
    except (msgspec.DecodeError, RecursionError):
        pass
    try:
        rows = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return [json.dumps(row).encode() for row in rows] if isinstance(rows, list) else None


def named(raw: bytes) -> str | None:
    """Which sensor a refused row was about, as far as that can be told."""
    try:
        said = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    sensor = said.get("sensor") if isinstance(said, dict) else None
    return sensor if isinstance(sensor, str) and SENSOR.fullmatch(sensor) else None


def _read(raw: bytes) -> dict[str, Any]:
    if len(raw) > MOST_BYTES:
        raise Refused("row_malformed", f"a row has at most {MOST_BYTES} bytes")
    try:
        row = json.loads(
            raw, parse_float=Decimal, parse_int=Decimal, parse_constant=lambda text: NotFinite(), object_pairs_hook=_once
        )
    except (ValueError, RecursionError, ArithmeticError) as error:
        if isinstance(error, _Twice):
            raise Refused("key_twice", f"the key {shown(error.key)} stands twice") from error
        raise Refused("row_malformed", "it is no JSON that can be read") from error
    if not isinstance(row, dict):
        raise Refused("row_malformed", "it is no object")
    row.setdefault("units", {})
    if row.keys() != MEMBERS:
        odd = sorted(row.keys() ^ MEMBERS)[0]
        raise Refused("row_malformed", f"{shown(odd)} is {'missing' if odd in MEMBERS else 'not a member of a row'}")
    return row


class _Twice(ValueError):
    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        raise _Twice(next(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]
    return made


def _sensor(said: Any) -> tuple[str | None, str]:
    found = SENSOR.fullmatch(said) if isinstance(said, str) else None
    if found is None:
        raise Refused("sensor_malformed", f"{shown(said) if isinstance(said, str) else 'what is no text'} is no sensor's name")
    return found[1], found[2]


def _time(said: Any, now_ms: int) -> int:
    found = TIME.fullmatch(said) if isinstance(said, str) else None
    if found is None:
        raise Refused("time_malformed", f"{shown(said) if isinstance(said, str) else 'what is no text'} is no time")
    if found[2] is None:
        raise Refused("time_no_offset", f"{shown(said)} has no offset")
    text = said.upper().replace(" ", "T")
    if found[1]:
        text = text.replace(found[1], found[1][:7].ljust(7, "0"))  # fromisoformat reads microseconds
    try:
        time_ms = (datetime.fromisoformat(text) - EPOCH) // MILLISECOND
    except (ValueError, OverflowError) as error:
        raise Refused("time_malformed", f"{shown(said)} is no day and hour that there is") from error
    if time_ms < FIRST_MS:
        raise Refused("time_past", f"{shown(said)} is before 2000")
    if time_ms > now_ms + AHEAD_MS:
        raise Refused("time_future", f"{shown(said)} is {(time_ms - now_ms) // 1000} s after now, {rfc3339(now_ms)}")
    return time_ms


def _values(said: Any, units: Any, sentinels: Sentinels) -> dict[tuple[str, str], Value]:
    if not isinstance(said, dict) or not isinstance(units, dict):
        raise Refused("row_malformed", "values and units are objects, by parameter")
    if len(said) > MOST_VALUES:
        raise Refused("row_malformed", f"a row has at most {MOST_VALUES} values")
    found: dict[tuple[str, str], Value] = {}
    for name, value in said.items():
        parameter = parameter_of(name)
        number = value_of(name, value)
        if number is None:
            continue
        unit = units.get(name, "" if parameter.unit == "" else None)
        if not isinstance(unit, str):
            raise Refused("unit_missing", f"{name} has no unit; its own is {parameter.unit or '1'}")
        stored, way = unit_of(parameter, unit)
        converted = convert(name, number, way)
        refuse_sentinel(name, number, converted, parameter, unit, sentinels(name, unit))
        found[name, stored] = converted
    if not found:
        raise Refused("no_values", "no value is a number")
    return found
