"""parameters.yaml in, the closed list of parameters out: name, unit, title, other catalogues' names, plausible ranges."""

from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType

import msgspec
import yaml
from msgspec import Struct

from readings.units import UNITS


class Parameter(Struct, frozen=True, forbid_unknown_fields=True):
    """`range` and `effective` are inclusive, in `unit`: outside the first a value fails, outside the second it is suspect."""

    name: str
    unit: str
    title: str
    range: tuple[float, float]
    effective: tuple[float, float] | None = None
    openaq: int | None = None
    cf: str | None = None


def _load() -> dict[str, Parameter]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    rows = yaml.load(files("readings").joinpath("parameters.yaml").read_text("utf-8"), loader)  # noqa: S506  # a safe loader
    made = {name: msgspec.convert({"name": name, **row}, Parameter) for name, row in rows.items()}
    for parameter in made.values():
        if parameter.unit not in UNITS:
            raise ValueError(f"parameters.yaml: {parameter.name}: unit {parameter.unit!r} is not in readings/units.py")
    return made


PARAMETERS: Mapping[str, Parameter] = MappingProxyType(_load())
