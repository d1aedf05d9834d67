"""A concentration in, an index and its category out, by a dated table. The tables are the YAML files beside this one.

Arithmetic is exact: a mean that lies on a breakpoint may be one ulp below it as a float, so it is rounded to 6 decimals before
it is truncated; halves round up.
"""

from decimal import ROUND_DOWN, Decimal
from fractions import Fraction
from functools import cache
from importlib.resources import files
from math import floor, isfinite
from typing import Literal

import msgspec
from msgspec import Struct

from readings.errors import Drop, Stop


class NoIndex(Drop):
    """This concentration has no index by this averaging: missing, or outside what the table defines."""


class Category(Struct, frozen=True):
    """The word for indices up to and with `to`; None: all above."""

    to: int | None
    name: str


class Segment(Struct, frozen=True, array_like=True):
    """Indices lo..hi for concentrations from..to [the table's unit], as decimal text."""

    index_lo: int
    index_hi: int
    low: str
    high: str


class Table(Struct, frozen=True, forbid_unknown_fields=True):
    """One parameter by one averaging."""

    parameter: str
    averaging: str
    unit: str
    decimals: int
    beyond: Literal["extrapolate", "undefined"]
    segments: tuple[Segment, ...]

    def truncated(self, concentration: float) -> Decimal:
        """Negative is 0 (a sensor's zero wanders); digits beyond the table's are cut, never rounded."""
        if not isfinite(concentration):
            raise NoIndex(f"{concentration} is no concentration")
        exact = Decimal(f"{max(concentration, 0.0):.6f}")
        return exact.quantize(Decimal(1).scaleb(-self.decimals), rounding=ROUND_DOWN)

    def index(self, concentration: float) -> int:
        """The index of a concentration [unit]. Raises NoIndex where this averaging defines none.

        Above the table's end: EPA-454/B-24-002, equation 1 with the concentration specified for 500, so no clamp.
        """
        cut = self.truncated(concentration)
        segment = next((s for s in self.segments if cut <= Decimal(s.high)), None)
        if segment is None and self.beyond == "extrapolate":
            segment = self.segments[-1]
        if segment is None or cut < Decimal(self.segments[0].low):
            raise NoIndex(f"{cut} {self.unit} of {self.parameter} has no index by its {self.averaging} mean")
        low, high = Fraction(segment.low), Fraction(segment.high)
        exact = (segment.index_hi - segment.index_lo) / (high - low) * (Fraction(cut) - low) + segment.index_lo
        return floor(exact + Fraction(1, 2))


class Standard(Struct, frozen=True, forbid_unknown_fields=True):
    """A national or international index as published at one date."""

    id: str
    version: str
    effective_from: str
    source: str
    categories: tuple[Category, ...]
    tables: tuple[Table, ...]

    def table(self, parameter: str, averaging: str) -> Table:
        """Raises NoIndex."""
        for table in self.tables:
            if (table.parameter, table.averaging) == (parameter, averaging):
                return table
        raise NoIndex(f"{self.id} {self.version} knows no {averaging} mean of {parameter}")

    def category(self, index: int) -> str:
        return next(c.name for c in self.categories if c.to is None or index <= c.to)


@cache
def standard(name: str) -> Standard:
    """A shipped standard, `<id>-<version>`: us-epa-aqi-2024-05. Raises Stop naming those there are."""
    from yaml import safe_load

    folder = files(__name__)
    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))
        raise Stop("there is no such standard", what=name, hint=f"known: {', '.join(known)}")
    try:
        found = safe_load(path.read_text(encoding="utf-8"))
        return msgspec.convert(found | {"effective_from": str(found["effective_from"])}, Standard)
    except msgspec.ValidationError as error:
        raise Stop(str(error), what=f"{name}.yaml") from error
