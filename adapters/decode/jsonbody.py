"""Grammar `jsonpath`, spoken: values and texts in, the JSON body of a device that means them out. No I/O here."""

import json
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from fractions import Fraction
from typing import Any

from adapters.decode.frame import raw_of
from adapters.decode.jsonpath import paths_in
from adapters.decode.reading import Plan, plan_of
from adapters.paths import Path, finder, path_of, put
from adapters.profile import Field, JsonWire, Message, Profile
from readings.units import linear, spelled

Said = float | int | str


def encoder(profile: Profile, message: str = "") -> Callable[[Mapping[str, Said]], bytes]:
    """values [canonical units] and texts -> a JSON body with the first of each field's paths; what is missing is left out.

    `message`: the one of the profile's messages that is spoken; else the first kind of answer that has all of the names.
    """
    kinds = [profile.messages[message]] if message else [None, *profile.messages.values()]
    layouts = [_Body(profile, kind) for kind in kinds if _speaks_json(profile, kind)]

    def encode(values: Mapping[str, Said]) -> bytes:
        said = {name: value for name, value in values.items() if value is not None}
        body = next((body for body in layouts if said.keys() <= body.fields.keys()), layouts[0])
        return json.dumps(body.of(said), separators=(",", ":")).encode()

    return encode


def _speaks_json(profile: Profile, message: Message | None) -> bool:
    return isinstance((message or profile).wire, JsonWire)


class _Body:
    """One kind of answer. Numbers of one row exclude each other where `when` tells them apart: each has a row of its own then."""

    def __init__(self, profile: Profile, message: Message | None) -> None:
        wire = (message or profile).wire
        assert isinstance(wire, JsonWire)  # noqa: S101  # the caller chose by grammar
        self.fields = (message or profile).fields
        self._wire = wire
        self._plan: Plan = plan_of(profile, message)

    def of(self, values: Mapping[str, Said]) -> Any:
        top: Any = None
        for path, fixed in self._wire.fixed.items():
            top = put(top, path_of(path).steps, fixed)
        rows: list[Any] = []
        first = path_of(self._wire.rows[0]) if self._wire.rows else None
        for names in self._rows(values):
            row = top if first is None else _started(top, first)
            for name in names:
                top, row = self._filled(top, row, name, values[name])
            top = row if first is None else top
            rows.append({} if row is None else row)
        if first is None:
            return {} if top is None else top
        return put(top, first.steps, rows if first.many or len(rows) > 1 else rows[0])

    def _rows(self, values: Mapping[str, Said]) -> Iterable[list[str]]:
        known = [name for name in self.fields if name in values]
        alone = [name for name in known if self.fields[name].when]
        shared = [name for name in known if name not in alone]
        return [[*shared, name] for name in alone] or [shared]

    def _filled(self, top: Any, row: Any, name: str, value: Said) -> tuple[Any, Any]:
        """The answer and its row with one more field, and what else the answer must say of it."""
        field, wire = self.fields[name], self._wire
        entries: list[tuple[str, Any]] = [(path, words[0]) for path, words in field.when.items()]
        raw: Any = str(value) if field.type in ("text", "time") else self._raw(name, float(value))
        if field.unit_at is not None:
            words = [word for word, unit in field.units.items() if spelled(unit) == spelled(field.unit)]
            word = words[0] if words else next(iter(field.units), field.unit)
            raw = _in_unit(raw, field, field.units.get(word, word))
            entries.append((str(field.unit_at), word))
        if field.scale_at is not None:
            word, factor = next(iter(field.scales.items()))
            raw = raw / factor
            entries.append((field.scale_at, int(word) if word.isdecimal() else word))
        if field.type not in ("text", "time"):
            raw = _numeral(raw, field) if wire.quoted or field.part is not None else int(raw) if raw == int(raw) else raw
        for path, entry in [*entries, (paths_in(field)[0], raw)]:
            place = path_of(path)
            apart = field.part is not None and path == paths_in(field)[0]
            if place.whole:
                top = put(top, place.steps, self._joined(top, place.steps, field, entry) if apart else entry)
            else:
                row = put(row, place.steps, self._joined(row, place.steps, field, entry) if apart else entry)
        return top, row

    def _joined(self, holder: Any, steps: Any, field: Field, entry: str) -> str:
        """A text of several parts with one more of them."""
        here = holder
        for step in steps:
            here = here.get(step) if isinstance(here, dict) and isinstance(step, str) else None
        parts = here.split(self._wire.split) if isinstance(here, str) else []
        assert field.part is not None  # noqa: S101  # the caller asked for it
        parts += [""] * (field.part + 1 - len(parts))
        parts[field.part] = entry
        return self._wire.split.join(parts)

    def _raw(self, name: str, value: float) -> float:
        """The number as the device would print it: in its own unit, on its own step."""
        field = self.fields[name]
        raw = float(raw_of(name, value, "f64", self._plan, self._plan.names.index(name)))
        if field.step is None or field.scale_at is not None:
            return raw
        step = Fraction(str(field.step)) / abs(Fraction(str(field.scale)))
        return float(round(raw / float(step)) * step)


def _started(top: Any, first: Path) -> Any:
    """A row as the fixed entries begin it."""
    row = finder([first])(top, top)
    row = row[0] if isinstance(row, list) and row else row
    return deepcopy(row) if isinstance(row, dict) else None


def _in_unit(raw: float, field: Field, unit: str) -> float:
    exact = linear(unit, field.unit)
    return raw if exact.scale == 1 and not exact.offset else float((Fraction(raw) - exact.offset) / exact.scale)


def _numeral(raw: float, field: Field) -> str:
    """A number as text, never with an exponent."""
    step = field.step or (field.precision or 0.1) / 10
    places = 0
    while Fraction(str(step)) * 10**places % 1 and places < 12:
        places += 1
    return f"{raw:.{places}f}"
