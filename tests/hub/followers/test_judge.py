"""Judging whole columns gives what judging one value at a time gives, and texts are exact."""

import json
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from hub.followers.judge import AHEAD_MS, Bounds, Judge, Texts, decimal, edge_flags
from readings.batch import Block
from readings.parameters import PARAMETERS
from readings.quality import range_flag
from readings.sample import Channel, unscale

channels = st.builds(
    lambda name, exponent: Channel(name, PARAMETERS[name].unit, exponent), st.sampled_from(sorted(PARAMETERS)), st.integers(-3, 1)
)
scaled = st.none() | st.integers(-(10**7), 10**7)


@given(channels, scaled)
def test_a_scaled_value_is_judged_as_its_unscaled_one(channel: Channel, value: int | None) -> None:
    parameter = PARAMETERS[channel.parameter]
    assert Bounds(channel).flag(value) == range_flag(unscale(value, channel.exponent), parameter.range, parameter.effective)


@given(st.integers(-(10**20), 10**20), st.integers(-6, 6))
def test_a_number_is_written_exactly_and_shortly(value: int, exponent: int) -> None:
    text = decimal(value, exponent)
    assert Decimal(text) == Decimal(value).scaleb(exponent)
    assert Decimal(json.loads(text, parse_float=Decimal)) == Decimal(text)
    assert "." not in text or not text.endswith("0")


def test_numbers_look_as_people_write_them() -> None:
    assert [decimal(v, -1) for v in (315, 120, -5, 0, 1)] == ["31.5", "12", "-0.5", "0", "0.1"]
    assert [decimal(v, 0) for v in (12, -3)] == ["12", "-3"]
    assert decimal(7, 2) == "700"


def test_kept_texts_stay_bounded_and_right() -> None:
    texts = Texts(-1)
    assert all(texts[v] == decimal(v, -1) for v in range(200_000))
    assert len(texts) < 70_000
    assert texts[None] == "null"


@given(st.lists(channels, min_size=1, max_size=4), st.data())
def test_columns_are_judged_as_single_samples_are(some: list[Channel], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.tuples(*[scaled for _ in some]), min_size=1, max_size=20))
    columns = [list(column) for column in zip(*rows, strict=True)]
    judge = Judge(some, {})
    assert [json.loads(body) for body in judge.bodies(columns)] == [
        [None if v is None else json.loads(decimal(v, c.exponent)) for v, c in zip(row, some, strict=True)] for row in rows
    ]
    flags = judge.flags(columns, [0] * len(rows), 0)
    for row, text in zip(rows, flags, strict=True):
        judged = [Bounds(c).flag(v) for v, c in zip(row, some, strict=True)]
        assert (json.loads(text) if text else [1] * len(some)) == judged


def test_a_time_far_ahead_of_its_receipt_fails_and_missing_stays_missing() -> None:
    judge = Judge([Channel("pm2_5", "ug/m3", 0), Channel("pm10", "ug/m3", 0)], {})
    flags = judge.flags([[5, 5], [7, None]], [1000 + AHEAD_MS, 1001 + AHEAD_MS], 1000)
    assert flags == [None, "[4,9]"]


def test_a_parameter_in_another_unit_or_unknown_is_not_evaluated() -> None:
    judge = Judge([Channel("pm2_5", "mg/m3", 0), Channel("phlogiston", "", 0)], {})
    assert judge.flags([[5], [7]], [0], 0) == ["[2,2]"]


def test_hints_are_kept_where_they_are_not_all_good_and_make_sense() -> None:
    flags = [([1, 1], 2), ([1, 3], 1), ([1], 1), ("bad", 1), ([1, True], 1), (None, 1), ([9, 9], 1)]
    block = Block("sample", "pm", 2, "b", "synced", list(range(8)), [0] * 8, [0] * 8, [[0] * 8] * 2, [], flags)
    assert edge_flags(block, 2) == [None, None, "[1,3]", None, None, None, None, "[9,9]"]
