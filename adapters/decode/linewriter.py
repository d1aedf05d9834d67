"""Grammar `lines`, the way back: values in, the lines that a device would write out. No I/O here."""

import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

from adapters.decode.columns import MONTHS, Place, Titles, Units, printable, split, titles_of
from adapters.decode.lines import pattern
from adapters.decode.reading import Scale, plan_of
from adapters.decode.tails import SEALS
from adapters.profile import Field, LinesWire, Message, Profile, State, Status
from readings.errors import Drop
from readings.units import spelled

Values = Mapping[str, float | int | str]
Writer = Callable[[Values], bytes]
MINUTE_DECIMALS = 6
_RFC3339 = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2}(?:\.[0-9]+)?)Z?")


def encoder(profile: Profile, message: Message | None = None) -> Writer:
    """values [canonical units] and texts -> a line, with its header if it has one; all lines that make one reading.

    What is missing is its sentinel, else an empty column, else left out.
    """
    wire = (message or profile).wire
    parts: list[Message | None] = [message]
    if message is None and isinstance(wire, LinesWire) and wire.join is not None:
        parts += [one for one in profile.messages.values() if isinstance(one.wire, LinesWire) and one.wire.join is not None]
    writers = [_Line(profile, part) for part in parts]

    def encode(values: Values) -> bytes:
        key = next((said for writer in writers if (said := writer.key(values))), "")
        return b"".join(writer.write(values, key) for writer in writers)

    return encode


class _Line:
    """Writes one kind of line."""

    def __init__(self, profile: Profile, message: Message | None) -> None:
        part = message or profile
        assert isinstance(part.wire, LinesWire)  # noqa: S101  # the caller chose by grammar
        self._wire: LinesWire = part.wire
        self._fields, self._plan = part.fields, plan_of(profile, message)
        self._header = _header(part.wire, part.fields)
        self._titles: Titles | None = titles_of(self._header) if self._header else None
        self._fixed = {**_beginning(part.wire), **_usual(part), **part.wire.fixed}

    def key(self, values: Values) -> str:
        """What stands in the `join` column, where a time that was given stands there."""
        for name, field in self._fields.items():
            if (
                field.type == "time"
                and self._wire.join is not None
                and self._wire.join in (field.at, field.beside)
                and values.get(name)
            ):
                said = _timed(field.form, str(values[name])).partition(" ")
                return said[2] if field.beside == self._wire.join else said[0]
        return ""

    def write(self, values: Values, key: str) -> bytes:
        cells: dict[int, str] = {}
        named: dict[str, list[str]] = {}
        for place, fixed in self._fixed.items():
            if place.isdecimal():
                cells[int(place)] = fixed
            else:
                self._put(cells, named, place, fixed, "")
        for name, field in self._fields.items():
            text = self._text(name, field, values.get(name))
            if text is None:
                continue
            unit = self._unit(field)
            if field.builtin == "nmea_degrees":
                text, _, letter = text.partition(" ")
                cells[_position(field.at) + 1] = letter
            elif field.beside is not None:
                text, _, beside = text.partition(" ")
                cells[field.beside] = beside
            elif field.unit_at is not None:
                cells[_position(field.unit_at)], unit = unit or field.unit, ""
            if self._titles is not None:
                unit = ""
            self._put(cells, named, field.at, text, unit, word_only=field.builtin == "unit_word")
        if key and self._wire.join is not None:
            cells[self._wire.join] = key
        return self._sealed(self._line(cells, named))

    def _put(
        self, cells: dict[int, str], named: dict[str, list[str]], at: Place, text: str, unit: str, *, word_only: bool = False
    ) -> None:
        place: int | str | None = at[0] if isinstance(at, tuple) else at
        if self._titles is not None and isinstance(place, str):
            names = at if isinstance(at, tuple) else (place,)
            there = self._titles.places
            place = next((there[name.lower()] for name in names if name.lower() in there), None)
        if place is None:  # a title that this device's header does not have
            return
        if isinstance(place, int):
            cells[place] = f"{text}{unit}"
        elif word_only:
            named.setdefault(place, ["0", ""])[1] = text
        else:
            named[place] = [text, unit]

    def _line(self, cells: Mapping[int, str], named: Mapping[str, Sequence[str]]) -> str:
        wire = self._wire
        width = max([len(self._header), *wire.count, *(at + 1 for at in cells), 0])
        row = [cells.get(at, "") for at in range(width)]
        for key, (text, unit) in named.items():
            if wire.columns == "xdr":
                kind, _, number = key.partition("_")
                row += [kind, text, unit, number]
            else:
                row.append(f"{key}{wire.pair}{text}{unit}")
        return (wire.split or " ").join(row)

    def _sealed(self, content: str) -> bytes:
        wire = self._wire
        start, end, inner = wire.start.encode("latin-1"), wire.end.encode("latin-1"), content.encode()
        header = start + (wire.titles or wire.split.join(self._header)).encode() + end if self._header else b""
        if wire.check is None or (wire.check.only and not any(re.match(pattern(one), inner) for one in wire.check.only)):
            return header + start + inner + end
        mark = wire.check.mark.encode("latin-1")
        covered = start + inner + (end if wire.check.after_end else mark) if wire.check.sum == "bcc_xor" else inner
        seal = SEALS[wire.check.sum](covered)
        return start + inner + (end + seal if wire.check.after_end else mark + seal + end)

    def _unit(self, field: Field) -> str:
        """The device's own word for the field's unit."""
        return next((word for word, unit in field.units.items() if spelled(unit) == spelled(field.unit)), "")

    def _text(self, name: str, field: Field, value: float | int | str | None) -> str | None:
        """None: the line is written without it."""
        if field.type == "time":
            return _timed(field.form, str(value)) if value else None
        if field.type == "text":
            return _plain(str(value), self._wire.split) if value is not None else None
        if value is None:
            if field.sentinels:
                return f"{field.sentinels[0]:g}"
            return "" if isinstance(field.at, int) or self._wire.columns == "header" else None
        scale = self._plan.scales[self._plan.names.index(name)]
        return self._number(name, field, float(value), scale)

    def _number(self, name: str, field: Field, value: float, scale: Scale) -> str:
        raw = (value - scale.offset) / scale.factor
        if field.type == "hex":
            return f"{round(raw):0{field.size or 1}X}"
        if field.builtin == "nmea_degrees":
            return _degrees(raw, "EW" if "longitude" in name else "NS")
        step = _step(field)
        raw, decimals = float(round(raw / float(step)) * step), _decimals(step)
        way = Units(name, field).way(self._written_unit(field))
        if way is not None and (way.scale != 1 or way.offset != 0):
            raw, decimals = (raw - float(way.offset)) / float(way.scale), decimals + 6
        return f"{raw:.{decimals}f}"

    def _written_unit(self, field: Field) -> str:
        """The unit that the header gives this column."""
        names = field.at if isinstance(field.at, tuple) else (field.at,)
        for name in names:
            at = self._titles.places.get(str(name).lower()) if self._titles is not None else None
            if self._titles is not None and at is not None:
                return self._titles.units[at]
        return ""


def _header(wire: LinesWire, fields: Mapping[str, Field]) -> list[str]:
    """The instrument's titles; where its profile does not say them, those of its fields."""
    if wire.columns != "header" or wire.titles:
        return split(wire.titles, wire.split) if wire.columns == "header" else []
    named = {str(field.at[0] if isinstance(field.at, tuple) else field.at): field.unit for field in fields.values()}
    return [wire.header, *(f"{title}({unit})" if unit else title for title, unit in named.items() if title != wire.header)]


def _beginning(wire: LinesWire) -> dict[str, str]:
    """The first columns of a line that begins as its kind does; 0 for what may be anything."""
    begins = wire.begins[0].replace("?", "0") if wire.begins and wire.split else ""
    return {str(at): text for at, text in enumerate(split(begins, wire.split)) if text}


def _usual(part: Profile | Message) -> dict[str, str]:
    """Where a state or a status is told by what is not usual: the usual word."""
    tests: list[State | Status] = [one for several in part.states.values() for one in several]
    tests += part.status.values()
    return {str(one.at): str(one.differs[0]) for one in tests if one.differs}


def _position(at: Place) -> int:
    assert isinstance(at, int)  # noqa: S101  # profile.py refuses others
    return at


def _plain(text: str, by: str) -> str:
    return printable(text).replace(by, " ") if by else printable(text)


def _step(field: Field) -> Fraction:
    step = Fraction(str(field.step)) if field.step is not None else Fraction(str(field.precision)) / 10
    return step / abs(Fraction(str(field.scale)))


def _decimals(step: Fraction) -> int:
    return next((count for count in range(12) if (step * 10**count).denominator == 1), 12)


def _degrees(degrees: float, letters: str) -> str:
    """ddmm.mmmmmm and, behind a blank, the letter."""
    minutes = round(abs(degrees) * 60, MINUTE_DECIMALS)
    whole, rest = divmod(minutes, 60)
    width = 3 if letters == "EW" else 2
    letter = letters[1] if degrees < 0 else letters[0]
    return f"{int(whole):0{width}d}{rest:0{MINUTE_DECIMALS + 3}.{MINUTE_DECIMALS}f} {letter}"


def _timed(form: str, text: str) -> str:
    """RFC 3339 in the device's own form."""
    found = _RFC3339.fullmatch(text)
    if found is None:
        raise Drop(f"{text!r} is no time", what="time", hint="write 2026-11-25T12:00:00Z")
    year, month, day, hour, minute, second = found.groups()
    parts = {"%Y": year, "%y": year[2:], "%m": month, "%b": MONTHS[int(month) - 1].upper(), "%d": day}
    parts |= {"%H": hour, "%M": minute, "%S": second}
    return "".join(parts.get(token, token) for token in re.findall(r"%.|.", form))
