"""Ranges behave as the sets that they stand for."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readings.ranges import Ranges

sets = st.sets(st.integers(1, 60), max_size=40)


@given(sets, sets)
def test_union_difference_and_intersection_are_those_of_sets(a: set[int], b: set[int]) -> None:
    left, right = Ranges.of(a), Ranges.of(b)
    assert set((left | right).numbers()) == a | b
    assert set((left - right).numbers()) == a - b
    assert set((left & right).numbers()) == a & b
    assert len(left) == len(a)


@given(sets, st.integers(1, 60), st.integers(1, 60))
def test_membership_cover_and_slices_are_those_of_sets(a: set[int], lo: int, hi: int) -> None:
    ranges = Ranges.of(a)
    assert (lo in ranges) == (lo in a)
    if lo <= hi:
        assert ranges.covers(lo, hi) == set(range(lo, hi + 1)).issubset(a)
        assert set(ranges.between(lo, hi).numbers()) == a & set(range(lo, hi + 1))


@given(sets)
def test_intervals_are_few_ascending_and_never_touch(a: set[int]) -> None:
    pairs = Ranges.of(a).pairs
    assert all(x[1] + 1 < y[0] for x, y in pairwise(pairs))
    assert Ranges(pairs) == Ranges.of(a)


def test_an_interval_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(ValueError, match="end lies before"):
        Ranges([(3, 2)])
