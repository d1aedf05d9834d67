"""Grammar `jsonpath`: the body of one answer in, a reading out; values in, a body out. No I/O here.

Nothing a device writes may pass for another number: true is not 1, NaN is no reading, "12" is marked.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from adapters.decode.frame import raw_of
from adapters.decode.reading import Fault, Judge, Number, Plan, Result, plan_of
from adapters.profile import Field, JsonWire, Profile

MAX_TEXT = 64
_NUMERAL = re.compile(r"[-+]?[0-9]{1,15}(\.[0-9]{1,15})?")
_ABSENT = object()
Path = tuple[str, ...]


class JsonDecoder:
    """`feed` takes one whole body."""

    def __init__(self, profile: Profile) -> None:
        self.plan: Plan = plan_of(profile)
        self.skipped = 0
        self._judge = Judge(profile, self.plan)
        self._numbers = [_finder(_paths(profile.fields[name])) for name in self.plan.names]
        self._texts = [(name, _finder(_paths(field))) for name, field in profile.fields.items() if field.type == "text"]

    def feed(self, data: bytes) -> list[Result]:
        try:
            top = json.loads(data)
        except (ValueError, RecursionError) as error:
            return [Fault("not_json", _shown(error, data))]
        if not isinstance(top, dict):
            return [Fault("schema_mismatch", f"the top is a {type(top).__name__}, not an object")]
        found = [find(top) for find in self._numbers]
        words = {name: find(top) for name, find in self._texts}
        if all(value is _ABSENT for value in (*found, *words.values())):
            return [Fault("schema_mismatch", "none of this profile's keys is there")]
        texts = {name: text for name, value in words.items() if (text := _text(value))}
        return [self._judged(found, texts)]

    def _judged(self, found: Sequence[Any], texts: Mapping[str, str]) -> Result:
        numbers: list[Number] = []
        odd: dict[int, str] = {}
        notes: list[str] = []
        for at, value in enumerate(found):
            if type(value) is float or type(value) is int:  # not finite, too large: the judge makes them missing
                numbers.append(value)
                continue
            number, note = _number(value)
            numbers.append(number)
            if note and number is None:
                notes.append(note)
            elif note:
                odd[at] = note
        return self._judge.judge(numbers, texts, odd, notes)

    def finish(self) -> list[Result]:
        return []

    def reset(self) -> None:
        return None


def _number(value: Any) -> tuple[Number, str]:
    """The number, and what was odd about it. Numbers written as text are kept: the reading is marked, not lost."""
    if value is _ABSENT or value is None:
        return None, ""
    if isinstance(value, bool):
        return None, "boolean"
    if isinstance(value, str) and _NUMERAL.fullmatch(value.strip()):
        return float(value), "number_as_text"
    return None, "not_a_number"


def _text(value: Any) -> str:
    """Printable and short, whatever the device wrote."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return ""
    return "".join(letter if letter.isprintable() else " " for letter in str(value)[: 4 * MAX_TEXT]).strip()[:MAX_TEXT]


def _finder(paths: Sequence[Path]) -> Callable[[Any], Any]:
    """top -> the value of the first path that is there. Most devices' answers are flat."""
    if len(paths) == 1 and len(paths[0]) == 1:
        key = paths[0][0]
        return lambda top: top.get(key, _ABSENT)
    return lambda top: _find(top, paths)


def _find(top: Any, paths: Sequence[Path]) -> Any:
    for path in paths:
        here = top
        for key in path:
            if isinstance(here, dict):
                here = here.get(key, _ABSENT)
            elif isinstance(here, list) and key.isdecimal() and int(key) < len(here):
                here = here[int(key)]
            else:
                here = _ABSENT
            if here is _ABSENT:
                break
        if here is not _ABSENT:
            return here
    return _ABSENT


def _paths(field: Field) -> list[Path]:
    paths = (field.at,) if isinstance(field.at, str) else field.at
    assert isinstance(paths, tuple)  # noqa: S101  # profile.py refuses others
    return [tuple(path.split(".")) for path in paths]


def _shown(error: Exception, data: bytes) -> str:
    start = data.lstrip()[:1]
    return "it looks like a web page" if start == b"<" else str(error)[:80] if data else "nothing came"


def encoder(profile: Profile) -> Callable[[Mapping[str, float | int | str]], bytes]:
    """values [canonical units] and texts -> a JSON body with the first of each field's keys; what is missing is left out."""
    wire = profile.wire
    assert isinstance(wire, JsonWire)  # noqa: S101  # the caller chose by grammar
    plan = plan_of(profile)
    index = {name: at for at, name in enumerate(plan.names)}

    def encode(values: Mapping[str, float | int | str]) -> bytes:
        top: dict[str, Any] = {}
        for path, fixed in wire.fixed.items():
            _put(top, tuple(path.split(".")), fixed)
        for name, field in profile.fields.items():
            value = values.get(name)
            if value is None:
                continue
            _put(
                top,
                _paths(field)[0],
                str(value) if field.type == "text" else _stepped(name, float(value), field, plan, index[name]),
            )
        return json.dumps(top, separators=(",", ":")).encode()

    return encode


def _stepped(name: str, value: float, field: Field, plan: Plan, at: int) -> float | int:
    """The number as the device would print it: in its own unit, on its own step."""
    raw = raw_of(name, value, "f32", plan, at)
    if field.step is not None:
        step = Fraction(str(field.step)) / abs(Fraction(str(field.scale)))
        raw = float(round(raw / float(step)) * step)
    return int(raw) if raw == int(raw) else raw


def _put(top: dict[str, Any], path: Path, value: Any) -> None:
    here = top
    for key in path[:-1]:
        here = here.setdefault(key, {})
    here[path[-1]] = value
