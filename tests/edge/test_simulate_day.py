"""The synthetic day: shaped like Lagos, the same for everyone who names the same seed, sensor and time."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.day import HOUR_MS, RULES, Day, local_hour
from readings.errors import Stop
from readings.parameters import PARAMETERS

MIDNIGHT_UTC = 1_795_478_400_000  # 2026-11-24
MOMENTS = st.integers(MIDNIGHT_UTC, MIDNIGHT_UTC + 400 * 24 * HOUR_MS)
DAYS = st.builds(Day, st.integers(0, 2**31), st.sampled_from(["pm-01", "box-02", "meter-03"]))


def at_local(hour: float) -> int:
    return MIDNIGHT_UTC + int((hour - 1) * HOUR_MS)


def hourly_mean(parameter: str, hour: float) -> float:
    """Over one hour and eight places."""
    days = [Day(seed, "pm") for seed in range(8)]
    times = [at_local(hour) + minute * 60_000 for minute in range(0, 60, 10)]
    return sum(day.truth(parameter, t) for day in days for t in times) / (len(days) * len(times))


def test_lagos_is_an_hour_ahead_of_greenwich() -> None:
    assert local_hour(MIDNIGHT_UTC) == 1


@given(DAYS, MOMENTS)
def test_fine_particles_are_part_of_the_coarser_ones(day: Day, time_ms: int) -> None:
    assert (
        0 < day.truth("pm1_0", time_ms) < day.truth("pm2_5", time_ms) < day.truth("pm4_0", time_ms) < day.truth("pm10", time_ms)
    )


@given(DAYS, MOMENTS)
def test_there_are_never_more_big_particles_than_small_ones(day: Day, time_ms: int) -> None:
    names = ["n_gt_10um", "n_gt_5_0um", "n_gt_2_5um", "n_gt_1_0um", "n_gt_0_5um", "n_gt_0_3um"]
    counts = [day.truth(name, time_ms) for name in names]
    assert all(0 < coarse < fine for coarse, fine in pairwise(counts))


@given(DAYS, MOMENTS)
def test_every_value_is_one_that_its_parameter_allows(day: Day, time_ms: int) -> None:
    for parameter in RULES:
        low, high = PARAMETERS[parameter].range
        assert low <= day.truth(parameter, time_ms) <= high, parameter


@pytest.mark.parametrize("rush_hour", [7.5, 18.5])
def test_rush_hours_are_dirtier_than_night_and_noon(rush_hour: float) -> None:
    assert hourly_mean("pm2_5", rush_hour) > 1.5 * max(hourly_mean("pm2_5", 2), hourly_mean("pm2_5", 12))


def test_the_afternoon_is_dusty() -> None:
    def coarse(hour: float) -> float:
        return hourly_mean("pm10", hour) - hourly_mean("pm2_5", hour)

    assert coarse(14) > 3 * coarse(2)


def test_nights_are_humid() -> None:
    assert hourly_mean("relative_humidity", 4) > 85 > 70 > hourly_mean("relative_humidity", 15)


def test_mains_sag_in_the_evening() -> None:
    assert hourly_mean("voltage", 20) < hourly_mean("voltage", 3) - 5


def test_the_same_seed_sensor_and_time_give_the_same_value() -> None:
    assert Day(7, "pm").truth("pm2_5", at_local(8)) == Day(7, "pm").truth("pm2_5", at_local(8))


def test_another_seed_or_sensor_or_second_gives_another_value() -> None:
    t = at_local(8)
    values = {Day(7, "pm").truth("pm2_5", t), Day(8, "pm").truth("pm2_5", t), Day(7, "box").truth("pm2_5", t)}
    assert len({*values, Day(7, "pm").truth("pm2_5", t + 1000)}) == 4


def test_energy_only_grows() -> None:
    readings = [Day(1, "meter").truth("energy_import", MIDNIGHT_UTC + n * 60_000) for n in range(100)]
    assert all(a < b for a, b in pairwise(readings))


def test_what_is_no_parameter_is_told() -> None:
    with pytest.raises(Stop, match=r"no rule for radon; it knows the parameters of readings/parameters\.yaml"):
        Day(1, "pm").truth("radon", 0)


@pytest.mark.parametrize("parameter", sorted(PARAMETERS))
def test_every_parameter_is_felt_within_its_plausible_range(parameter: str) -> None:
    low, high = PARAMETERS[parameter].range
    assert low <= Day(1, "pm").truth(parameter, MIDNIGHT_UTC) <= high


def test_an_instrument_of_a_group_feels_what_one_alone_does() -> None:
    day = Day(1, "box")
    assert day.truth("bme280.temperature", MIDNIGHT_UTC) == pytest.approx(day.truth("temperature", MIDNIGHT_UTC), rel=0.05)
