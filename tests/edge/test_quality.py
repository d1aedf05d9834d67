"""Hints at reading time: ranges of the profile, overrides of the configuration, numbers that no instrument means."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from adapters.profile import Profile, parse
from edge.quality import Hints
from readings.sample import Channel, Moment, Sample, Schema

PROFILE = b"""
profile: test.box
models: [Box]
source: made up
wire: {grammar: jsonpath}
fields:
  pm2_5: {at: pm, unit: ug/m3, step: 0.1, range: [0, 1000], effective: [0, 500]}
  temperature: {at: t, unit: degC, step: 0.1}
"""
AT = Moment("b", 1_000_000, 1_764_000_000_000, "unsynced")
SCHEMA = Schema("box", "test.box", "00" * 32, "", (Channel("pm2_5", "ug/m3", -1), Channel("temperature", "degC", -1)))


def profile() -> Profile:
    return parse(PROFILE, Path("test/box.yaml"))


def flags(pm: int | None, temperature: int | None = 200, *, said: tuple[int, int] = (1, 1), **overrides: tuple[float, float]):  # type: ignore[no-untyped-def]
    return Hints(profile(), overrides).flagged(SCHEMA, Sample("box", AT, (pm, temperature), said)).flags


def test_a_value_within_its_ranges_is_good() -> None:
    assert flags(123) == (1, 1)


def test_outside_the_effective_range_is_suspect_outside_the_range_fails() -> None:
    assert [flags(pm)[0] for pm in (5000, 5001, 10000, 10001, -1)] == [1, 3, 3, 4, 4]


def test_a_missing_value_is_missing() -> None:
    assert flags(None, said=(9, 1)) == (9, 1)


def test_what_the_decoder_doubted_stays_doubted() -> None:
    assert flags(123, said=(3, 1)) == (3, 1)


def test_the_configuration_overrides_the_profile() -> None:
    assert flags(1500, pm2_5=(0.0, 100.0)) == (4, 1)


def test_a_channel_without_a_range_of_the_profile_takes_its_parameters() -> None:
    assert flags(123, 20_000) == (1, 4)


def test_the_values_themselves_are_never_changed() -> None:
    sample = Sample("box", AT, (99_999, None), (1, 9))
    assert Hints(profile(), {}).flagged(SCHEMA, sample).values == sample.values


@given(st.one_of(st.none(), st.integers(), st.sampled_from([2**53, -(2**63), 10**308, 10**400])))
def test_no_number_whatever_breaks_it_or_is_kept_inexactly(pm: int | None) -> None:
    got = Hints(profile(), {}).flagged(SCHEMA, Sample("box", AT, (pm, 0), (9 if pm is None else 1, 1)))
    if pm is not None and abs(pm) >= 2**53:
        assert (got.values[0], got.flags[0]) == (None, 4)
    else:
        assert got.values[0] == pm
