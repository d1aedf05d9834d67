"""parameters.yaml in, the closed list of parameters out: name, unit, title, other catalogues' names, plausible ranges."""

import re
from collections.abc import Iterator, Mapping
from importlib.resources import files

import msgspec
import yaml
from msgspec import Struct

from readings.units import CONVERSIONS, UNITS, linear, spelled

GROUPED = re.compile(r"[a-z0-9][a-z0-9_]*\.[a-z0-9_]+")


class Parameter(Struct, frozen=True, forbid_unknown_fields=True):
    """`range` and `effective` are inclusive, in `unit`: outside the first a value fails, outside the second it is suspect.

    `also`: units that some instruments give and that no fixed factor turns into `unit`; such a value keeps its own.
    """

    name: str
    unit: str
    title: str
    range: tuple[float, float]
    effective: tuple[float, float] | None = None
    openaq: int | None = None
    cf: str | None = None
    also: tuple[str, ...] = ()

    def unit_from(self, unit: str) -> str:
        """The unit that a value in this one is stored in. Raises Drop where no exact way leads to any."""
        for stored in (self.unit, *self.also):
            if spelled(unit) == stored or (spelled(unit), stored) in CONVERSIONS:
                return stored
        linear(unit, self.unit)
        return self.unit


class Parameters(Mapping[str, Parameter]):
    """The list, by name. `<group>.<parameter>` is the parameter as one of several instruments in one box gives it."""

    def __init__(self, rows: Mapping[str, Parameter]) -> None:
        self._rows = dict(rows)

    def __getitem__(self, name: str) -> Parameter:
        if name not in self._rows and GROUPED.fullmatch(name):
            return self._rows[name.partition(".")[2]]
        return self._rows[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def _load() -> dict[str, Parameter]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    rows = yaml.load(files("readings").joinpath("parameters.yaml").read_text("utf-8"), loader)  # noqa: S506  # a safe loader
    made = {name: msgspec.convert({"name": name, **row}, Parameter) for name, row in rows.items()}
    for parameter in made.values():
        if not {parameter.unit, *parameter.also} <= UNITS:
            raise ValueError(f"parameters.yaml: {parameter.name}: unit {parameter.unit!r} is not in readings/units.py")
    return made


PARAMETERS: Mapping[str, Parameter] = Parameters(_load())
