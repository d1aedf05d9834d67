"""A number as it was written, and its unit, in; an exact decimal in the canonical unit out. Pure.

A value keeps the digits that were written, up to nine after the point. A factor that leads to no finite decimal (degF) leaves
the digits that the written ones are worth.
"""

from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from hub.ingestion.refusals import Refused
from readings.errors import Drop
from readings.parameters import PARAMETERS, Parameter
from readings.sample import LARGEST_SCALED
from readings.units import Linear, linear, spelled

FINEST = -9
LONGEST = -25
"""Digits after the point that are looked at; a double has 17."""
SENTINELS = frozenset(map(Decimal, (-9999, -999, -99999, 9999, 99999, 999999, 32767, -32768, 65535, 4294967295)))
"""What loggers and registers say for "no value": all nines, a register's extremes. Refused where no such value can exist."""


AS_IT_IS = Linear(Fraction(1))


class Value(NamedTuple):
    """`scaled * 10**exponent`, with as few digits as the number has."""

    scaled: int
    exponent: int

    def at(self, exponent: int) -> int:
        """The same on a finer step."""
        return self.scaled * int(10 ** (self.exponent - exponent))


class NotFinite:
    """What stands where a body has NaN or Infinity, which JSON does not know and many programs write."""


def parameter_of(name: str) -> Parameter:
    """Raises Refused, naming the nearest that there are."""
    found = PARAMETERS.get(name)
    if found is None:
        from difflib import get_close_matches

        near = get_close_matches(name[:60], PARAMETERS, n=3)
        said = f"did you mean {' or '.join(near)}?" if near else "GET /api/v1/sensors shows some"
        raise Refused("parameter_unknown", f"{shown(name)} is no parameter; {said}")
    return found


def unit_of(parameter: Parameter, unit: str) -> tuple[str, Linear]:
    """(the unit that is stored, the way into it). Raises Refused."""
    try:
        stored = parameter.unit_from(unit)
        return stored, AS_IT_IS if unit == stored else linear(unit, stored)
    except Drop as error:
        raise Refused("unit_unknown", f"{parameter.name}: {shown(unit)} does not lead to {parameter.unit or '1'}") from error


def value_of(name: str, said: Any) -> Decimal | None:
    """A number, None for null. Raises Refused."""
    if said is None:
        return None
    if isinstance(said, NotFinite):
        raise Refused("value_not_finite", f"{name} is not a finite number")
    if not isinstance(said, Decimal):
        raise Refused("value_not_number", f"{name} is {_kind(said)}")
    if said.adjusted() > 307:
        raise Refused("value_not_finite", f"{name} is beyond every number that a computer holds")
    return said


def convert(name: str, said: Decimal, way: Linear) -> Value:
    """The number in the canonical unit, by a way of `unit_of`. Raises Refused for one that no table holds exactly."""
    if said.adjusted() > 40:
        raise Refused("value_too_large", f"{name} is {said:.3e}")
    written = int(said.as_tuple().exponent)  # a finite number's exponent is an int
    if written < LONGEST:
        said, written = Decimal(f"{said:.{-LONGEST}f}"), LONGEST
    exact: Fraction | Decimal
    if way is AS_IT_IS and FINEST <= written <= 0:
        exact, exponent, scaled = said, written, int(said.scaleb(-written))  # most values, in a third of the time
    else:
        exact = turned = Fraction(said) * way.scale + way.offset
        exponent = _exponent(turned, min(written, 0), way)
        scaled = _rounded(turned * 10**-exponent)
    while abs(scaled) > LARGEST_SCALED and exponent < 0:
        exponent += 1
        scaled = _rounded(Fraction(exact) * 10**-exponent)
    if abs(scaled) > LARGEST_SCALED:
        raise Refused("value_too_large", f"{name} is {float(exact):.3e}")
    while exponent < 0 and scaled % 10 == 0:
        scaled, exponent = scaled // 10, exponent + 1
    return Value(scaled, exponent)


def refuse_sentinel(name: str, said: Decimal, value: Value, parameter: Parameter, unit: str, own: frozenset[Decimal]) -> None:
    """`own`: what the device's profile lists for this parameter, in the unit that was sent. Raises Refused."""
    if said in own:
        raise Refused("value_sentinel", f"{name}: {said} {unit} is the device's word for no value")
    if said in SENTINELS and spelled(unit) == parameter.unit:
        low, high = parameter.range
        if not low <= float(Fraction(value.scaled) * Fraction(10) ** value.exponent) <= high:
            raise Refused("value_sentinel", f"{name}: {said} is a logger's word for no value")


def shown(text: str) -> str:
    """A text of a stranger, short and printable, in quotes."""
    return f"'{''.join(c if c.isprintable() and c != chr(0x27) else '?' for c in text[:60])}'"


def _exponent(exact: Fraction, written: int, way: Linear) -> int:
    if way.scale == 1 and not way.offset:
        return max(written, FINEST)
    exponent = written
    while exponent > FINEST and (exact * 10**-exponent).denominator != 1:
        exponent -= 1
    if (exact * 10**-exponent).denominator == 1:
        return exponent
    step, exponent = abs(way.scale) * Fraction(10) ** written, 0
    while Fraction(10) ** exponent > step and exponent > FINEST:
        exponent -= 1
    return exponent


def _rounded(value: Fraction) -> int:
    """Half away from zero."""
    return int(value + Fraction(1, 2)) if value >= 0 else -int(Fraction(1, 2) - value)


def _kind(said: Any) -> str:
    if isinstance(said, bool):
        return "true or false"
    return "a text" if isinstance(said, str) else "a list" if isinstance(said, list) else "an object"
