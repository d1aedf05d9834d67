"""What types cannot say of a profile of grammar lines: its wire or a field in; (keys, what is wrong, what is allowed) out."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from readings.errors import Drop
from readings.parameters import PARAMETERS
from readings.units import linear

if TYPE_CHECKING:
    from adapters.profile import Field, LinesWire

Keys = tuple[str, ...]
Mistake = tuple[Keys, str, str]
TYPES = ("number", "hex", "text", "time")
MAX_COLUMNS = 256
_FORM = re.compile(r"(%[YymbdHMS]|[^%\w]|T){2,24}")


def of_wire(keys: Keys, wire: "LinesWire", main: object) -> Iterator[Mistake]:
    """`main`: the profile's own wire."""
    if not wire.end:
        yield (*keys, "end"), "empty", '"\\n" or another end: "\\r", "\\x03"'
    if wire.columns == "header" and not wire.header:
        yield (*keys, "header"), "missing", "the first title of the instrument's header line"
    if wire.columns == "key" and not wire.pair:
        yield (*keys, "pair"), "empty", "what stands between key and value"
    if wire.join is not None and not 0 <= wire.join < MAX_COLUMNS:
        yield (*keys, "join"), f"{wire.join} is no column", f"0 to {MAX_COLUMNS - 1}"
    mark = wire.check.mark if wire.check is not None else ""
    if any(latin(text) is None for text in (wire.start, wire.end, wire.split, mark, *wire.begins, *wire.ignore)):
        yield keys, "characters that no serial line carries", "one byte each, \\x00 to \\xff"
    if mark and wire.check is not None and wire.check.after_end:
        yield (*keys, "check", "mark"), "the checksum stands behind the end already", "mark, or after_end: true"
    if isinstance(main, type(wire)) and (main.end, seal_behind(main)) != (wire.end, seal_behind(wire)):
        yield (*keys, "end"), "another end than the profile's own", "all lines of a device end alike, their checks too"
    for at in wire.fixed:
        if wire.columns == "position" and not (at.isdecimal() and int(at) < MAX_COLUMNS):
            yield (*keys, "fixed", at), "is no column", f"0 to {MAX_COLUMNS - 1}"


def of_field(key: Keys, field: "Field", kind: str, wire: "LinesWire") -> Iterator[Mistake]:
    """Whether a field's keys fit a line of text."""
    if kind not in TYPES:
        yield (*key, "type"), f"{kind} does not stand in a line", ", ".join(TYPES)
    yield from of_place((*key, "at"), field.at, wire)
    directives = re.findall(r"%.", field.form)
    dated = set("".join(directives).lower()) >= set("yd") and {"%m", "%b"} & set(directives)
    if kind == "time" and not (_FORM.fullmatch(field.form) and dated and len(set(directives)) == len(directives)):
        yield (*key, "form"), f"{field.form!r} is no date and time", "%Y %y %m %b %d %H %M %S, each once, and signs between them"
    if field.beside is not None and (kind != "time" or field.form.count(" ") != 1):
        yield (*key, "beside"), "nothing to put together", 'type: time, and its form with one blank: "%d%m%y %H%M%S"'
    if field.beside is not None and not 0 <= field.beside < MAX_COLUMNS:
        yield (*key, "beside"), f"{field.beside} is no column", f"0 to {MAX_COLUMNS - 1}"
    if field.builtin == "packed_clock" or (field.builtin == "nmea_degrees" and not isinstance(field.at, int)):
        yield (*key, "builtin"), f"{field.builtin} does not stand there", "nmea_degrees at a position, or unit_word"
    if field.unit_at is not None and not (isinstance(field.unit_at, int) and 0 <= field.unit_at < MAX_COLUMNS):
        yield (*key, "unit_at"), f"{field.unit_at!r} is no column", f"0 to {MAX_COLUMNS - 1}"
    for word, unit in field.units.items():
        try:
            linear(unit, PARAMETERS[key[-1]].unit)
        except (Drop, KeyError) as error:
            hint = error.hint if isinstance(error, Drop) else ""
            yield (*key, "units", word), f"{unit!r} is no unit of {key[-1]}", hint


def of_test(key: Keys, at: object, kind: str | None, wire: "LinesWire") -> Iterator[Mistake]:
    """What a state or a status looks at."""
    yield from of_place((*key, "at"), at, wire)
    if kind not in (None, "number", "hex", "text"):
        yield (*key, "type"), f"{kind} does not stand in a line", "number, hex or text"


def of_place(key: Keys, at: object, wire: "LinesWire") -> Iterator[Mistake]:
    if isinstance(at, int):
        if not 0 <= at < MAX_COLUMNS:
            yield key, f"{at} is no column", f"0 to {MAX_COLUMNS - 1}"
    elif wire.columns == "position":
        yield key, f"{at!r} is no column", "a whole number from 0; words where `columns` is header, key or xdr"
    elif not at or not all((at,) if isinstance(at, str) else tuple(at)):  # type: ignore[arg-type]  # a str or a tuple of them
        yield key, f"{at!r} is no column", "a title or key as the device writes it, or a list of them"


def seal_behind(wire: "LinesWire") -> str:
    """The checksum that stands behind the end of each line; '' for none."""
    return wire.check.sum if wire.check is not None and wire.check.after_end else ""


def latin(text: str) -> bytes | None:
    """One byte per character, or None."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return None
