"""Grammar `jsonpath`: the body of one answer in, readings out. No I/O here; the way back is jsonbody.py.

Nothing a device writes may pass for another number: true is not 1, NaN is no reading, "12" is marked where numbers are not text
always. A body holds one reading, a list of them, or a table of rows beside the names of its columns.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from adapters.decode.reading import Fault, Judge, Number, Plan, Reading, Result, least_flags, plan_of
from adapters.decode.times import moment_of, stamp
from adapters.paths import ABSENT, Find, finder, path_of, word_of
from adapters.profile import Field, JsonWire, Message, More, Profile, State, Status
from readings.errors import Drop
from readings.units import linear

MAX_TEXT = 64
MAX_ROWS = 10_000
_NUMERAL = re.compile(r"[-+]?[0-9]{1,15}(\.[0-9]{1,15})?")
Odd = tuple[Number, str]
"""A number, and what was odd about it. No JSON value is a tuple, so it may stand among them."""
Holds = Callable[[Any, Any], bool]


class JsonDecoder:
    """`feed` takes one whole body. Where the profile has several messages, the first that knows the body reads it."""

    def __init__(self, profile: Profile) -> None:
        self.plan: Plan = plan_of(profile)
        self.skipped = 0
        parts: list[tuple[JsonWire, Message | None]] = []
        for message in (None, *profile.messages.values()):
            wire = (message or profile).wire
            if isinstance(wire, JsonWire):
                parts.append((wire, message))
        self._layouts = [_Layout(profile, wire, message) for wire, message in parts]

    def feed(self, data: bytes) -> list[Result]:
        try:
            top = json.loads(data)
        except (ValueError, RecursionError) as error:
            return [Fault("not_json", _shown(error, data))]
        results: list[Result] = []
        for layout in self._layouts:
            read = layout.read(top)
            results = results or read
            if any(isinstance(result, Reading) or result.code != "schema_mismatch" for result in read):
                return read
        return results

    def finish(self) -> list[Result]:
        return []

    def reset(self) -> None:
        return None


class _Layout:
    """One kind of answer, prepared."""

    def __init__(self, profile: Profile, wire: JsonWire, message: Message | None) -> None:
        part = message or profile
        self.plan = plan_of(profile, message)
        self._wire = wire
        self._judge = Judge(profile, self.plan, message)
        self._states = _states_of(part.states)
        self._rows = _Rows(wire) if wire.rows else None
        self._more = _more_of(wire.more) if wire.more else None
        mine = [part.fields.get(name) for name in self.plan.names]
        self._keys = [_flat(field) if field else None for field in mine]
        self._read = [(at, _reader(field, wire)) for at, field in enumerate(mine) if field and self._keys[at] is None]
        self._chosen = any(field.when for field in mine if field)
        self._needed = [(at, name) for at, (name, field) in enumerate(zip(self.plan.names, mine, strict=True)) if _needs(field)]
        self._words = [(name, _word_reader(name, field)) for name, field in part.fields.items() if field.type in ("text", "time")]
        self._needed_words = [name for name, _ in self._words if part.fields[name].required]
        self._status = [_status_of(name, status, self.plan) for name, status in part.status.items()]

    def read(self, top: Any) -> list[Result]:
        for find, holds, code, says in self._states:
            if holds(top, top):
                said = word_of(find(top, top) if says is None else says(top, top)) if ":" in code else None
                return [Fault(code + _printable(said) if said else code.rstrip(":"))]
        if self._rows is None:
            if not isinstance(top, dict):
                return [Fault("schema_mismatch", f"the top is a {type(top).__name__}, not an object")]
            return [self._row(top, top, self._further(top))]
        rows = self._rows.of(top)
        if isinstance(rows, Fault):
            return [rows]
        last = len(rows) - 1
        return [self._row(row, top, self._further(top) if at == last else ()) for at, row in enumerate(rows)]

    def _further(self, top: Any) -> tuple[str, ...]:
        return ("more_pages",) if self._more is not None and self._more(top, top) else ()

    def _row(self, row: Any, top: Any, notes: Sequence[str]) -> Result:
        if not isinstance(row, dict):
            return Fault("schema_mismatch", f"a row is a {type(row).__name__}, not an object")
        get = row.get
        found = [get(key, ABSENT) for key in self._keys]  # no JSON key is None
        for at, read in self._read:
            found[at] = read(row, top)
        words = [(name, *read(row, top)) for name, read in self._words]
        if all(value is ABSENT for value in found) and (self._chosen or all(note is None for _, _, note in words)):
            return Fault("schema_mismatch", "none of this profile's keys is there")
        texts = {name: text for name, text, _ in words if text}
        for name in self._needed_words:
            if name not in texts:
                return Fault("schema_mismatch", f"no readable {name}")
        marks = [(name, least) for name, least, holds in self._status if holds(row, top)]
        said = [*notes, *(note for _, _, note in words if note), *(name for name, _ in marks)]
        return self._judged(found, texts, said, [least for _, least in marks])

    def _judged(self, found: Sequence[Any], texts: Mapping[str, str], notes: list[str], least: Sequence[Sequence[int]]) -> Result:
        numbers: list[Number] = []
        odd: dict[int, str] = {}
        quoted, missing = self._wire.quoted, self._wire.missing
        for at, value in enumerate(found):
            if type(value) is float or type(value) is int:  # not finite, too large: the judge makes them missing
                numbers.append(value)
                continue
            number, note = value if type(value) is tuple else number_of(value, quoted=quoted, missing=missing)
            numbers.append(number)
            if note and number is None:
                notes.append(note)
            elif note:
                odd[at] = note
        for at, name in self._needed:
            if numbers[at] is None:
                return Fault("schema_mismatch", f"no readable {name}")
        return self._judge.judge(numbers, texts, odd, notes, least)


def number_of(value: Any, *, quoted: bool = False, missing: Sequence[str] = ()) -> Odd:
    """The number, and what was odd about it. Numbers written as text are kept: the reading is marked, unless all are `quoted`."""
    if value is ABSENT or value is None:
        return None, ""
    if isinstance(value, bool):
        return None, "boolean"
    if isinstance(value, (int, float)):
        return value, ""
    if isinstance(value, str):
        text = value.strip()
        if text in missing:
            return None, ""
        if _NUMERAL.fullmatch(text):
            return float(text), "" if quoted else "number_as_text"
    return None, "not_a_number"


def _nothing(row: Any, top: Any) -> Any:
    return ABSENT


def _needs(field: Field | None) -> bool:
    return field is not None and field.required


def paths_in(field: Field) -> tuple[str, ...]:
    """A field's `at` as a list."""
    paths = (field.at,) if isinstance(field.at, str) else field.at
    assert isinstance(paths, tuple)  # noqa: S101  # profile.py refuses others
    return paths


def _finder(*paths: str) -> Find:
    return finder([path_of(path) for path in paths])


def _flat(field: Field) -> str | None:
    """The key of a number that stands in the row itself, as it is: most do."""
    paths = [path_of(path) for path in paths_in(field)]
    plain = field.part is None and field.unit_at is None and field.scale_at is None and not field.when
    step = paths[0].steps[0] if len(paths) == 1 and len(paths[0].steps) == 1 and not paths[0].whole else None
    return step if plain and isinstance(step, str) else None


def _reader(field: Field, wire: JsonWire) -> Find:
    """(row, whole answer) -> what stands at a field's place, ABSENT, or a number that the answer itself gave unit or factor."""
    find = _finder(*paths_in(field))
    if field.part is not None:
        find = _part_of(find, field.part, wire.split)
    if field.unit_at is not None or field.scale_at is not None:
        find = _converted(find, field, wire)
    if not field.when:
        return find
    tests = [(_finder(path), frozenset(map(word_of, words))) for path, words in field.when.items()]

    def read(row: Any, top: Any) -> Any:
        chosen = all(word_of(look(row, top)) in words for look, words in tests)
        return find(row, top) if chosen else ABSENT

    return read


def _part_of(find: Find, part: int, split: str) -> Find:
    def read(row: Any, top: Any) -> Any:
        text = find(row, top)
        if not isinstance(text, str):
            return text
        parts = text.split(split, part + 1)
        return number_of(parts[part], quoted=True, missing=("",)) if part < len(parts) else ABSENT

    return read


def _converted(find: Find, field: Field, wire: JsonWire) -> Find:
    """The number in the field's own unit, by the unit or factor that the answer names; missing where it names an unknown one."""
    unit_at = _finder(str(field.unit_at)) if field.unit_at is not None else _nothing
    scale_at = _finder(field.scale_at) if field.scale_at is not None else _nothing
    known: dict[str, tuple[float, float] | None] = {}

    def way(word: str) -> tuple[float, float] | None:
        if word not in known and len(known) < MAX_TEXT:
            try:
                exact = linear(field.units.get(word, word), field.unit)
                known[word] = (float(exact.scale), float(exact.offset))
            except Drop:
                known[word] = None
        return known.get(word)

    def read(row: Any, top: Any) -> Any:
        value = find(row, top)
        if value is ABSENT:
            return value
        number, note = value if type(value) is tuple else number_of(value, quoted=wire.quoted, missing=wire.missing)
        unit, scale = unit_at(row, top), scale_at(row, top)
        if number is not None and field.scale_at is not None:
            factor = field.scales.get(word_of(scale) or "")
            number, note = (None, "unknown_scale") if factor is None else (number * factor, note)
        if number is not None and unit is not ABSENT and unit is not None:
            linearly = way(word_of(unit) or "")
            number, note = (None, "unknown_unit") if linearly is None else (number * linearly[0] + linearly[1], note)
        return number, note

    return read


def _word_reader(name: str, field: Field) -> Callable[[Any, Any], tuple[str, str | None]]:
    """(row, whole answer) -> the text, and what was odd about it: None where nothing stands there."""
    find, is_time, local = _finder(*paths_in(field)), field.type == "time", name.endswith("_local")

    def read(row: Any, top: Any) -> tuple[str, str | None]:
        value = find(row, top)
        if value is ABSENT:
            return "", None
        if not is_time:
            return _text(value), ""
        text = stamp(value, local=local) or ""
        return text, "" if text or value in (None, "") else "not_a_time"

    return read


def _text(value: Any) -> str:
    """Printable and short, whatever the device wrote."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return ""
    return _printable(word_of(value) or "")


def _printable(text: str) -> str:
    text = text[: 4 * MAX_TEXT]
    if not text.isprintable():
        text = "".join(letter if letter.isprintable() else " " for letter in text)
    return text.strip()[:MAX_TEXT]


class _Rows(Struct, frozen=True):
    """Where the readings of one answer stand."""

    wire: JsonWire

    def of(self, top: Any) -> list[Any] | Fault:
        held: Any = ABSENT
        for path in self.wire.rows:
            there = finder([path_of(path)])(top, top)
            held = there if held is ABSENT or held is None else held
        if held is None:
            return Fault("no_data", "null stands where readings should")
        rows = [held] if isinstance(held, dict) else held
        if not isinstance(rows, list):
            return Fault("schema_mismatch", f"no {' or '.join(self.wire.rows)} in it")
        if not rows:
            return Fault("no_data", "an empty list")
        rows = self._named(rows[:MAX_ROWS], top)
        return self._newest(rows) if self.wire.newest else rows

    def _named(self, rows: list[Any], top: Any) -> list[Any]:
        if not self.wire.columns:
            return rows
        names = _finder(self.wire.columns)(top, top)
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            return rows
        return [dict(zip(names, row, strict=False)) if isinstance(row, list) else row for row in rows]

    def _newest(self, rows: list[Any]) -> list[Any] | Fault:
        find = _finder(self.wire.newest)
        stamps = [stamp(find(row, row)) for row in rows]
        timed = [(moment, at) for at, text in enumerate(stamps) if text is not None and (moment := moment_of(text)) is not None]
        if not timed:
            return Fault("schema_mismatch", f"no readable {self.wire.newest}")
        newest = max(moment for moment, _ in timed)
        return [rows[next(at for moment, at in timed if moment == newest)]]


def _more_of(more: More) -> Holds:
    following, page, pages = (_finder(path) if path else _nothing for path in (more.next, more.page, more.pages))

    def holds(row: Any, top: Any) -> bool:
        there, now, last = following(row, top), page(row, top), pages(row, top)
        if there is not ABSENT and there not in (None, False, "", "false", 0):
            return True
        return type(now) is int and type(last) is int and now < last

    return holds


def _states_of(states: Mapping[Any, Sequence[State]]) -> list[tuple[Find, Holds, str, Find | None]]:
    """(what stands there, whether it means this, the fault's code, where its word stands); errors first."""
    found = []
    for name in sorted(states, key=lambda name: name != "error"):
        for state in states[name]:
            find = _finder(str(state.at))
            says = _finder(str(state.says)) if state.says is not None else None
            found.append((find, _holds(find, state), f"{state.code}:" if name == "error" else str(name), says))
    return found


def _status_of(name: str, status: Status, plan: Plan) -> tuple[str, tuple[int, ...], Holds]:
    return name, least_flags(status, plan), _holds(_finder(str(status.at)), status)


def _holds(find: Find, test: State | Status) -> Holds:
    equals, differs = frozenset(map(word_of, test.equals)), frozenset(map(word_of, test.differs))
    present = test.present if isinstance(test, State) else None
    mask = test.mask if isinstance(test, State) else 0 if test.bit is None else 1 << test.bit

    def holds(row: Any, top: Any) -> bool:
        value = find(row, top)
        there = value is not ABSENT and value is not None
        if present is not None:
            return there is present
        if equals:
            return there and word_of(value) in equals
        if differs:
            return there and word_of(value) not in differs
        number = number_of(value, quoted=True)[0] if there else None
        return isinstance(number, (int, float)) and abs(number) < 1 << 32 and bool(int(number) & mask)

    return holds


def _shown(error: Exception, data: bytes) -> str:
    start = data.lstrip()[:1]
    return "it looks like a web page" if start == b"<" else str(error)[:80] if data else "nothing came"
