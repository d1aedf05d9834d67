"""Canonical units and the exact linear ways into them: value * scale + offset. Nothing here needs a temperature or a pressure."""

from fractions import Fraction
from types import MappingProxyType
from typing import NamedTuple

from readings.errors import Drop

# fmt: off
UNITS: frozenset[str] = frozenset({
    "", "ug/m3", "#/cm3", "ppm", "ppb", "degC", "%", "hPa", "m/s", "deg", "mm", "mm/h", "W/m2", "lx", "kOhm", "dBm",
    "V", "A", "W", "VA", "var", "kWh", "kvarh", "Ah", "Hz", "L/min", "mL/s", "cc/min", "s", "h", "m", "m3", "um", "counts",
    "#/0.01ft3",
})
# fmt: on
"""ASCII spellings; "" for pure numbers."""


class Linear(NamedTuple):
    """canonical = raw * scale + offset, exact."""

    scale: Fraction
    offset: Fraction = Fraction(0)


_INTO: dict[tuple[str, str], Linear] = {
    # (from, canonical): exact by definition of the unit
    ("mg/m3", "ug/m3"): Linear(Fraction(1000)),
    ("#/0.1L", "#/cm3"): Linear(Fraction(1, 100)),
    ("#/dL", "#/cm3"): Linear(Fraction(1, 100)),
    ("#/L", "#/cm3"): Linear(Fraction(1, 1000)),
    ("#/0.01ft3", "#/cm3"): Linear(1 / (Fraction(3048, 100) ** 3 / 100)),
    ("ppm", "ppb"): Linear(Fraction(1000)),
    ("ppb", "ppm"): Linear(Fraction(1, 1000)),
    ("degF", "degC"): Linear(Fraction(5, 9), Fraction(-160, 9)),
    ("K", "degC"): Linear(Fraction(1), Fraction(-27315, 100)),
    ("Pa", "hPa"): Linear(Fraction(1, 100)),
    ("kPa", "hPa"): Linear(Fraction(10)),
    ("mbar", "hPa"): Linear(Fraction(1)),
    ("bar", "hPa"): Linear(Fraction(1000)),
    ("mmHg", "hPa"): Linear(Fraction(1_333_223_874_15, 10**11)),
    ("inHg", "hPa"): Linear(Fraction(3_386_389, 10**5)),
    ("km/h", "m/s"): Linear(Fraction(10, 36)),
    ("mph", "m/s"): Linear(Fraction(44704, 100_000)),
    ("kn", "m/s"): Linear(Fraction(1852, 3600)),
    ("in", "mm"): Linear(Fraction(254, 10)),
    ("cm", "mm"): Linear(Fraction(10)),
    ("in/h", "mm/h"): Linear(Fraction(254, 10)),
    ("ft", "m"): Linear(Fraction(3048, 10_000)),
    ("mV", "V"): Linear(Fraction(1, 1000)),
    ("mA", "A"): Linear(Fraction(1, 1000)),
    ("kW", "W"): Linear(Fraction(1000)),
    ("Wh", "kWh"): Linear(Fraction(1, 1000)),
    ("Wmin", "kWh"): Linear(Fraction(1, 60_000)),
    ("klx", "lx"): Linear(Fraction(1000)),
    ("Ohm", "kOhm"): Linear(Fraction(1, 1000)),
    ("min", "s"): Linear(Fraction(60)),
    ("h", "s"): Linear(Fraction(3600)),
    ("ms", "s"): Linear(Fraction(1, 1000)),
    ("nm", "um"): Linear(Fraction(1, 1000)),
}
CONVERSIONS = MappingProxyType(_INTO)

_SPELLINGS = {
    "µg/m³": "ug/m3",
    "μg/m³": "ug/m3",
    "ug/m³": "ug/m3",
    "µg m-3": "ug/m3",
    "ug m-3": "ug/m3",
    "°C": "degC",
    "C": "degC",
    "°F": "degF",
    "F": "degF",
    "#/cm³": "#/cm3",
    "lpm": "L/min",
}


def spelled(unit: str) -> str:
    """The house's spelling of a unit that others write with signs: both micro signs, superscripts, degrees."""
    return _SPELLINGS.get(unit, unit)


def factor(unit_from: str, unit_to: str) -> tuple[float, float]:
    """(scale, offset) so that value * scale + offset is in `unit_to`. Raises Drop where no exact linear way leads."""
    exact = linear(unit_from, unit_to)
    return float(exact.scale), float(exact.offset)


def linear(unit_from: str, unit_to: str) -> Linear:
    """The same as exact fractions. ppb <-> ug/m3 is none of these: it needs the air's temperature and pressure."""
    unit_from, unit_to = spelled(unit_from), spelled(unit_to)
    if unit_from == unit_to:
        return Linear(Fraction(1))
    try:
        return _INTO[unit_from, unit_to]
    except KeyError:
        ways = ", ".join(sorted(a for a, b in _INTO if b == unit_to)) or "none"
        raise Drop(f"{unit_from!r} cannot become {unit_to!r}", what="unit", hint=f"known for {unit_to!r}: {ways}") from None
