"""NowCast against AirNow's worked example and its odd cases: gaps, zeros, few hours, smoke that comes and goes."""

import pytest

from hub.science.nowcast import nowcast
from hub.science.standards import standard

EPA = standard("us-epa-aqi-2024-05")
NA = None
CASES = {
    "AirNow's worked example": ([21, NA, 35, 49.2, 48.6, 53.7, 66.2, 69.2, 64.9, 50, 43, 34.9], 28.409801, 87, 26),
    "constant": ([50] * 12, 50, 137, 46),
    "rising smoke": ([300, 180, 90, 40, 20, 15, 12, 10, 10, 9, 9, 8], 209.828083, 285, 128),
    "falling": ([10, 20, 40, 80, 120, 160, 200, 220, 240, 250, 250, 260], 29.577534, 89, 27),
    "newest missing": ([NA, 30, 32, 31, 29, 28, 33, 35, 34, 30, 31, 29], 30.890113, 91, 28),
    "two hours only": ([18.36, 20.4], 19.326316, 70, 18),
    "all zero": ([0] * 12, 0, 0, 0),
}


@pytest.mark.parametrize(("hours", "exact", "pm2_5", "pm10"), CASES.values(), ids=CASES)
def test_published_hours_give_the_published_nowcast(hours: list[float | None], exact: float, pm2_5: int, pm10: int) -> None:
    value = nowcast(hours)
    assert value == pytest.approx(exact, abs=5e-7)
    assert value is not None
    assert EPA.table("pm2_5", "24h").index(value) == pm2_5
    assert EPA.table("pm10", "24h").index(value) == pm10


@pytest.mark.parametrize("newest", [[NA, NA, 32], [NA, 32, NA], [32, NA, NA], [NA, NA, NA], [32], []])
def test_two_of_the_newest_three_hours_missing_means_no_nowcast(newest: list[float | None]) -> None:
    assert nowcast(newest + [30.0] * 9 if len(newest) == 3 else newest) is None


def test_negative_hours_count_as_zero() -> None:
    assert nowcast([-3, -1, 0]) == 0
    assert nowcast([-3, 10]) == nowcast([0, 10])


def test_a_thirteenth_hour_is_not_looked_at() -> None:
    assert nowcast([50.0] * 12 + [900.0]) == 50
