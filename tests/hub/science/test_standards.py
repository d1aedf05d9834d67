"""The US EPA index of May 2024 at its breakpoints, beyond 500 and where an averaging defines none."""

from math import inf, nan

import pytest

from hub.science.standards import NoIndex, standard
from readings.errors import Stop

EPA = standard("us-epa-aqi-2024-05")
# concentration: index
VECTORS: dict[tuple[str, str], dict[float, int | None]] = {
    ("pm2_5", "24h"): {
        0: 0, 3.7: 21, 9.04: 50, 9.05: 50, 9.0999: 50, 9.1: 51, 12.0: 56, 35.49: 100, 35.5: 101, 55.49: 150, 90: 175, 125.5: 201,
        150.4: 226, 225.49: 300, 325.4: 500, 325.5: 500, 500.4: 849, 760.3: 1366, -4: 0,
    },
    ("pm10", "24h"): {
        27: 25, 54.9: 50, 55: 51, 154.6: 100, 155: 101, 300: 173, 424.9: 300, 425: 301, 604: 500, 612.7: 509, 1200: 1163,
    },
    ("o3", "8h"): {0.0549: 50, 0.055: 51, 0.0706: 100, 0.0857: 150, 0.1059: 200, 0.200: 300, 0.201: None},
    ("o3", "1h"): {0.124: None, 0.125: 101, 0.2049: 200, 0.405: 301, 0.604: 500, 0.650: 546},
    ("co", "8h"): {1.1: 13, 4.49: 50, 9.49: 100, 15.46: 200, 50.4: 500, 60: 596},
    ("so2", "1h"): {35.9: 50, 75.9: 100, 185.7: 150, 304: 200, 305: None},
    ("so2", "24h"): {304: None, 305: 201, 604.9: 300, 1004: 500, 1100: 548},
    ("no2", "1h"): {53.6: 50, 77: 76, 100.9: 100, 649.9: 200, 2049: 500, 2500: 612},
}  # fmt: skip
CASES = [(*table, given, index) for table, rows in VECTORS.items() for given, index in rows.items()]


@pytest.mark.parametrize(("parameter", "averaging", "given", "index"), CASES)
def test_a_concentration_has_the_index_of_the_published_table(
    parameter: str, averaging: str, given: float, index: int | None
) -> None:
    table = EPA.table(parameter, averaging)
    if index is None:
        with pytest.raises(NoIndex, match="has no index"):
            table.index(given)
    else:
        assert table.index(given) == index


@pytest.mark.parametrize(
    ("given", "word"),
    [
        (9.0999, "good"), (9.1, "moderate"), (35.5, "unhealthy_for_sensitive_groups"), (90, "unhealthy"),
        (125.5, "very_unhealthy"), (225.5, "hazardous"), (760.3, "hazardous"),
    ],
)  # fmt: skip
def test_an_index_has_its_word(given: float, word: str) -> None:
    assert EPA.category(EPA.table("pm2_5", "24h").index(given)) == word


def test_a_mean_one_ulp_under_a_breakpoint_counts_as_the_breakpoint() -> None:
    assert EPA.table("pm2_5", "24h").index(sum([9.1] * 10) / 10) == 51
    assert sum([9.1] * 10) / 10 < 9.1


@pytest.mark.parametrize("given", [nan, inf, -inf])
def test_what_is_no_number_has_no_index(given: float) -> None:
    with pytest.raises(NoIndex):
        EPA.table("pm2_5", "24h").index(given)


def test_no_concentration_falls_between_two_segments() -> None:
    for table in EPA.tables:
        step = 10**-table.decimals
        for lower, upper in zip(table.segments, table.segments[1:], strict=False):
            assert float(upper.low) == pytest.approx(float(lower.high) + step)
            assert upper.index_lo == lower.index_hi + 1


def test_an_unknown_standard_names_those_there_are() -> None:
    with pytest.raises(Stop, match="known: us-epa-aqi-2024-05"):
        standard("us-epa-aqi-2012")
    with pytest.raises(NoIndex, match="knows no 24h mean of radon"):
        EPA.table("radon", "24h")
