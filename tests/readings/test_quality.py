"""The published vectors of the gross range test, and the edges of numbers."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readings.parameters import PARAMETERS
from readings.quality import Bounds, gross_range, range_flag
from readings.sample import quantise, unscale, worst
from readings.units import factor


@pytest.mark.parametrize(
    ("fail", "suspect", "values", "flags"),
    [
        ((-5, 1000), (0, 500), [12, -3, 0, 500, 800, 1000, 1000.1, None, -5.1], [1, 3, 1, 1, 3, 3, 4, 9, 4]),
        ((-20, 60), (-5, 50), [20, 54.9, 60, 60.1, -20, -20.1, None], [1, 3, 3, 4, 3, 4, 9]),
    ],
)
def test_gross_range_gives_the_published_flags(
    fail: tuple[float, float], suspect: tuple[float, float], values: list[float | None], flags: list[int]
) -> None:
    assert gross_range(values, fail, suspect) == flags


def test_nan_is_missing_and_no_span_is_not_evaluated() -> None:
    assert range_flag(math.nan, (0, 1), None) == 9
    assert range_flag(5.0, None, None) == 2


def test_the_aggregate_takes_the_worst() -> None:
    triples = zip([1, 1, 1, 2, 9, 3, 1], [1, 3, 2, 1, 1, 4, 9], [1, 1, 9, 9, 9, 1, 9], strict=True)
    assert [worst(t) for t in triples] == [1, 3, 1, 1, 1, 4, 1]


@pytest.mark.parametrize(
    ("value", "exponent", "scaled"),
    [(12.34, -1, 123), (12.35, -2, 1235), (-0.05, -1, -1), (0.0, -1, 0), (-0.0, -1, 0), (1500.0, 2, 15), (None, -1, None)],
)
def test_a_value_is_quantised_once(value: float | None, exponent: int, scaled: int | None) -> None:
    assert quantise(value, exponent) == scaled


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e308])
def test_what_no_number_can_hold_is_missing(value: float) -> None:
    assert quantise(value, -1) is None


def test_a_scaled_integer_reads_as_the_shortest_decimal() -> None:
    assert [unscale(123, -1), unscale(5, 0), unscale(3, 2), unscale(None, -1)] == [12.3, 5.0, 300.0, None]


def test_units_convert_exactly() -> None:
    assert factor("#/0.1L", "#/cm3") == (0.01, 0.0)
    assert factor("µg/m³", "ug/m3") == (1.0, 0.0)
    scale, offset = factor("degF", "degC")
    assert 212 * scale + offset == pytest.approx(100)
    with pytest.raises(Exception, match="'ppb' cannot become 'ug/m3'"):
        factor("ppb", "ug/m3")


def test_each_parameter_has_a_title_and_its_effective_range_lies_within_its_range() -> None:
    for p in PARAMETERS.values():
        assert p.title
        low, high = p.effective or p.range
        assert p.range[0] <= low < high <= p.range[1], p.name


@given(
    st.integers(-20_000, 20_000),
    st.integers(-3, 2),
    st.none() | st.tuples(st.floats(-500, 0), st.floats(0, 500)),
    st.none() | st.tuples(st.floats(-500, 0), st.floats(0, 500)),
)
def test_bounds_over_integers_flag_as_the_values_they_stand_for(
    scaled: int, exponent: int, fail: tuple[float, float] | None, suspect: tuple[float, float] | None
) -> None:
    bounds = Bounds(fail, suspect, exponent)
    flag = range_flag(unscale(scaled, exponent), fail, suspect)
    assert bounds.flag(scaled) == flag
    assert bounds.all_good([scaled]) == (flag == 1)
    assert bounds.flag(None) == 9
    assert not bounds.all_good([scaled, None])
