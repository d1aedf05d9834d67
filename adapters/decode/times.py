"""A time as devices and clouds write it in; RFC 3339 text, or a point in time to compare, out. No I/O here.

Read are year-first dates (`2023/10/26T18:53:40z`, `2018.02.04 23:17:01`, `2020-06-08T15:30:16.669152`, with Z, an offset or
nothing) and Unix seconds or milliseconds, as number or text. Nothing else is guessed at.
"""

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

_DATE = re.compile(
    r"([0-9]{4})[-/.]([0-9]{1,2})[-/.]([0-9]{1,2})[Tt ]([0-9]{1,2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]{1,9}))?)?"
    r"\s?([Zz]|UTC|[-+][0-9]{2}:?[0-9]{2})?"
)
_SECONDS = (1_000_000_000, 10_000_000_000)
"""2001 to 2286: a smaller number counts from a device's own start, not from 1970."""
_EPOCH = datetime.fromtimestamp(0, UTC)


def stamp(value: Any, *, local: bool = False) -> str | None:
    """RFC 3339 text. A time without a zone is UTC, or (`local`) stays without one. None for what is no time."""
    moment = moment_of(value)
    if moment is None:
        return None
    if moment.tzinfo is None and local:
        return _text(moment)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return _text(moment.replace(tzinfo=None)) + "Z"


def moment_of(value: Any) -> datetime | None:
    """The point in time; without a zone where none is written."""
    if isinstance(value, str):
        text = value.strip()[:64]
        if text.isascii() and text.isdecimal() and len(text) in (10, 13):
            return _unix(int(text))
        date = _DATE.fullmatch(text)
        return _moment(date) if date else None
    return _unix(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _unix(value: float) -> datetime | None:
    for unit, size in (("seconds", 1), ("milliseconds", 1000)):
        if _SECONDS[0] * size <= value < _SECONDS[1] * size:
            return _EPOCH + timedelta(**{unit: value})
    return None


def _moment(date: re.Match[str]) -> datetime | None:
    year, month, day, hour, minute = (int(date[group]) for group in range(1, 6))
    micro = int((date[7] or "0").ljust(6, "0")[:6])
    try:
        moment = datetime(year, month, day, hour, minute, int(date[6] or 0), micro)
        if not date[8]:
            return moment
        moment.replace(tzinfo=_zone(date[8])).astimezone(UTC)
        return moment.replace(tzinfo=_zone(date[8]))
    except (ValueError, OverflowError):  # a 13th month, a zone of 99 hours, the edge of the calendar
        return None


def _zone(text: str) -> timezone:
    if text in ("Z", "z", "UTC"):
        return UTC
    away = timedelta(hours=int(text[1:3]), minutes=int(text[-2:]))
    return timezone(-away if text[0] == "-" else away)


def _text(moment: datetime) -> str:
    micro = moment.microsecond
    return moment.isoformat(timespec="seconds" if not micro else "microseconds" if micro % 1000 else "milliseconds")
