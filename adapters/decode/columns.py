"""The columns of one line of text in; its numbers, words and times out. No I/O here.

A number is what a device prints as one: digits, a point, an exponent, and behind it the unit, if any. All else is no number.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from typing import NamedTuple

from adapters.decode.reading import Number
from adapters.profile import Field, LinesWire, State, Status
from readings.errors import Drop
from readings.parameters import PARAMETERS
from readings.units import Linear, linear, spelled

MAX_TEXT = 64
MAX_UNITS = 32
"""Words for a unit that one column's reader remembers: a device has a few, noise has many."""
NUMBER = re.compile(r"([-+]?(?:[0-9]{1,15}(?:\.[0-9]{0,15})?|\.[0-9]{1,15})(?:[eE][-+]?[0-9]{1,3})?)\s*(.*)", re.DOTALL)
_HEX = re.compile(r"[0-9A-Fa-f]{1,8}")
_DEGREES = re.compile(r"([0-9]{1,3})([0-9]{2}(?:\.[0-9]{0,9})?)")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
Place = int | str | tuple[str, ...]


class Cell(NamedTuple):
    """What stands in a column, and the unit that its header gives it."""

    text: str
    unit: str = ""


class Row:
    """One line. Columns by position, and by the name that the grammar gives them."""

    def __init__(self, cells: Sequence[str], named: Mapping[str, Cell], units: Sequence[str] = ()) -> None:
        self.cells, self._named, self._units = cells, named, units

    def at(self, place: Place) -> Cell | None:
        """None where the line has no such column. Of several names the first that is there counts."""
        if isinstance(place, int):
            unit = self._units[place] if place < len(self._units) else ""
            return Cell(self.cells[place], unit) if place < len(self.cells) else None
        for name in (place,) if isinstance(place, str) else place:
            if name in self._named:
                return self._named[name]
        return None

    def text(self, place: Place) -> str:
        cell = self.at(place)
        return cell.text if cell is not None else ""


class Titles(NamedTuple):
    """An instrument's own header: position and unit of each column by its title in lower case."""

    places: Mapping[str, int]
    units: tuple[str, ...]


def titles_of(cells: Sequence[str]) -> Titles:
    """Of a title that stands there twice the first column counts."""
    places: dict[str, int] = {}
    units: list[str] = []
    for at, cell in enumerate(cells):
        opening = max(cell.rfind("("), cell.rfind("[")) if cell.endswith((")", "]")) else -1
        title, unit = (cell[:opening].strip(), cell[opening + 1 : -1].strip()) if opening > 0 else (cell.strip(), "")
        places.setdefault(title.lower(), at)
        units.append(unit)
    return Titles(places, tuple(units))


def split(text: str, by: str) -> list[str]:
    cells = text.split() if by == " " else text.split(by) if by else [text]
    return [cell.strip(' \t"') for cell in cells]


def keyed(cells: Sequence[str], pair: str) -> dict[str, Cell]:
    """`Ta=27.9C` by `Ta`. A key that stands there twice has lost characters between them: it holds nothing that can be read."""
    named: dict[str, Cell] = {}
    for cell in cells:
        key, sign, value = cell.partition(pair)
        if sign:
            named[key.strip()] = Cell(f"{named[key.strip()].text} {cell}" if key.strip() in named else value.strip())
    return named


def grouped(cells: Sequence[str]) -> dict[str, Cell]:
    """NMEA XDR behind the sentence's name: type, value, unit, id, again and again. By type_id."""
    named: dict[str, Cell] = {}
    for at in range(1, len(cells) - 3, 4):
        kind, value, unit, number = cells[at : at + 4]
        named[f"{kind}_{number}"] = Cell(value, unit)
    return named


def rows(wire: LinesWire) -> Callable[[list[str], Titles | None], Row]:
    """How the columns of a line get their names."""
    if wire.columns == "key":
        return lambda cells, titles: Row(cells, keyed(cells, wire.pair))
    if wire.columns == "xdr":
        return lambda cells, titles: Row(cells, grouped(cells))
    if wire.columns == "header":
        return _titled
    return lambda cells, titles: Row(cells, {})


def _titled(cells: list[str], titles: Titles | None) -> Row:
    assert titles is not None  # noqa: S101  # a row before its header is refused by the caller
    named = {title: Cell(cells[at], titles.units[at]) for title, at in titles.places.items()}
    return Row(cells, named, titles.units)


def place_of(at: Place, wire: LinesWire) -> Place:
    """Titles are compared in lower case."""
    if wire.columns != "header" or isinstance(at, int):
        return at
    return at.lower() if isinstance(at, str) else tuple(name.lower() for name in at)


class Units:
    """A device's word for a unit in; how its number becomes one in the field's own unit out."""

    def __init__(self, name: str, field: Field) -> None:
        self._canonical = PARAMETERS[name].unit
        self._field = field
        self._into = linear(field.unit, self._canonical)
        self._known: dict[str, Linear | None] = {"": Linear(Fraction(1))}

    def way(self, word: str) -> Linear | None:
        """raw * scale + offset is what the device would print in the field's unit; None: no unit of this quantity."""
        if word not in self._known:
            if len(self._known) >= MAX_UNITS:
                self._known = {"": Linear(Fraction(1))}
            self._known[word] = self._found(word)
        return self._known[word]

    def _found(self, word: str) -> Linear | None:
        unit = spelled(self._field.units.get(word, word))
        if unit == spelled(self._field.unit):
            return Linear(Fraction(1))
        try:
            way = linear(unit, self._canonical)
        except Drop:
            return None
        scale, offset = Fraction(str(self._field.scale)), Fraction(str(self._field.offset))
        into = self._into
        # word's number -> field's own scale -> canonical -> field's unit -> back behind the field's own scale
        return Linear(
            way.scale / into.scale,
            ((offset * way.scale + way.offset - into.offset) / into.scale - offset) / scale,
        )


class Got(NamedTuple):
    """`note` names what was odd. `there`: the column holds something that is known for what it is, a number or none."""

    number: Number = None
    note: str = ""
    there: bool = False


Finder = Callable[[Row], Got]


def number_finder(name: str, field: Field, wire: LinesWire) -> Finder:
    """One field's number, as it would stand there in the field's own unit."""
    place, shown = place_of(field.at, wire), _shown(field.at)
    bad = Got(None, f"bad_field:{shown}")
    if field.builtin == "nmea_degrees":
        assert isinstance(place, int)  # noqa: S101  # profile.py refuses others
        return lambda row: _degrees(row.text(place), row.text(place + 1), bad)
    if field.type == "hex":
        return lambda row: _hex(row.text(place), field, bad)
    units, sentinels, invalid = Units(name, field), frozenset(field.sentinels), frozenset(wire.invalid)

    def find(row: Row) -> Got:
        cell = row.at(place)
        if cell is None or not cell.text:
            return Got()
        found = NUMBER.fullmatch(cell.text)
        if found is None:
            return bad
        number, word = float(found[1]), found[2].strip()
        if number in sentinels:
            return Got(None, "", True)
        beside = row.text(field.unit_at) if field.unit_at is not None else cell.unit
        if word in invalid or beside in invalid:
            return Got(None, f"invalid:{name}", True)
        way = units.way(word or beside)
        if way is None:
            return bad if word else Got(None, f"unknown_unit:{shown}")
        return Got(number if way.scale == 1 and way.offset == 0 else float(way.scale) * number + float(way.offset), "", True)

    return find


def _shown(at: Place) -> str:
    return str(at[0] if isinstance(at, tuple) else at)


def _hex(text: str, field: Field, bad: Got) -> Got:
    if not text:
        return Got()
    if not _HEX.fullmatch(text):
        return bad
    number = int(text, 16)
    if field.bits is not None:
        number = number >> field.bits[0] & (1 << field.bits[1] - field.bits[0] + 1) - 1
    return Got(None if number in field.sentinels else number, "", True)


def _degrees(text: str, letter: str, bad: Got) -> Got:
    """ddmm.mmmm and its hemisphere, NMEA 0183. An empty pair is a receiver without a fix."""
    if not text and not letter:
        return Got()
    found = _DEGREES.fullmatch(text)
    if found is None or letter not in ("N", "S", "E", "W") or float(found[2]) >= 60:
        return bad
    degrees = int(found[1]) + float(found[2]) / 60
    if degrees > (90 if letter in "NS" else 180):
        return bad
    return Got(-degrees if letter in "SW" else degrees, "", True)


def text_finder(name: str, field: Field, wire: LinesWire) -> Callable[[Row], tuple[str, str]]:
    """A text or a time in RFC 3339, and what was odd about it."""
    place = place_of(field.at, wire)
    if field.type == "time":
        read, bad = time_reader(field.form, utc=name == "timestamp"), f"bad_field:{_shown(field.at)}"

        def time(row: Row) -> tuple[str, str]:
            text = row.text(place) + (f" {row.text(field.beside)}" if field.beside is not None else "")
            said = read(text) if text.strip() else ""
            return said, bad if text.strip() and not said else ""

        return time
    if field.builtin == "unit_word":
        return lambda row: (_unit_word(row.text(place), wire.invalid), "")
    return lambda row: (printable(row.text(place)), "")


def _unit_word(text: str, invalid: Sequence[str]) -> str:
    found = NUMBER.fullmatch(text)
    word = printable(found[2]) if found else ""
    return "" if word in invalid else word


def printable(text: str) -> str:
    """Short, and nothing in it that a terminal obeys."""
    return "".join(letter if letter.isprintable() else " " for letter in text[: 4 * MAX_TEXT]).strip()[:MAX_TEXT]


def time_reader(form: str, *, utc: bool) -> Callable[[str], str]:
    """text -> RFC 3339, with Z where the time is UTC; '' for what is no time in this form."""
    digits = "{2}" if re.search(r"%.%", form) else "{1,2}"
    parts = {
        "%Y": "(?P<Y>[0-9]{4})",
        "%y": "(?P<y>[0-9]{2})",
        "%b": "(?P<b>[A-Za-z]{3})",
        "%S": f"(?P<S>[0-9]{digits})(?:\\.(?P<f>[0-9]{{1,9}}))?",
        **{f"%{letter}": f"(?P<{letter}>[0-9]{digits})" for letter in "mdHM"},
    }
    pattern = re.compile("".join(parts.get(token, re.escape(token)) for token in re.findall(r"%.|.", form)))

    def read(text: str) -> str:
        found = pattern.fullmatch(text.strip())
        return _rfc3339(found.groupdict(), utc) if found else ""

    return read


def _rfc3339(said: Mapping[str, str | None], utc: bool) -> str:
    month = (said.get("b") or "").lower()
    if month and month not in MONTHS:
        return ""
    year = int(said.get("Y") or 0) or _century(int(said.get("y") or 0))
    millis = int(f"{said.get('f') or '':0<3}"[:3])
    number = MONTHS.index(month) + 1 if month else int(said.get("m") or 0)
    day, hour, minute, second = (int(said.get(key) or 0) for key in "dHMS")
    try:
        moment = datetime(year, number, day, hour, minute, second, millis * 1000)  # whether it is UTC is told by the Z behind it
    except ValueError:
        return ""
    return moment.isoformat(timespec="milliseconds" if millis else "seconds") + ("Z" if utc else "")


def _century(year: int) -> int:
    """80 to 99 are 19xx: no satellite gave a time before 1980."""
    return year + (1900 if year >= 80 else 2000)


def tester(one: State | Status, wire: LinesWire) -> Callable[[Row], bool]:
    """Whether what a state or a status describes stands in a row."""
    place = place_of(one.at, wire)
    if one.equals or one.differs:
        said, equal = one.equals or one.differs, bool(one.equals)
        if isinstance(one, Status):  # a word that is not there says nothing
            return lambda row: bool(row.text(place)) and _among(row.text(place), said) == equal
        return lambda row: _among(row.text(place), said) == equal
    mask = 1 << one.bit if isinstance(one, Status) and one.bit is not None else getattr(one, "bits", 0)
    if mask:
        base = 16 if one.type == "hex" else 10
        return lambda row: bool(_whole(row.text(place), base) & mask)
    if isinstance(one, State) and one.present is not None:
        present = one.present
        return lambda row: bool(row.text(place)) == present
    expected = bytes(one.bytes).decode("latin-1") if isinstance(one, State) else ""
    return lambda row: row.text(place).startswith(expected)


def _among(text: str, said: Sequence[int | float | str]) -> bool:
    found = NUMBER.fullmatch(text)
    number = float(found[1]) if found and not found[2] else None
    return any(text == one if isinstance(one, str) else number == one for one in said)


def _whole(text: str, base: int) -> int:
    if base == 16:
        return int(text, 16) if _HEX.fullmatch(text) else 0
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else 0
