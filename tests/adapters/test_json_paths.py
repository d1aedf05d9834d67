"""JSON paths and times as text: what they find in an answer, what they put there, what is none."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.decode.times import moment_of, stamp
from adapters.paths import ABSENT, Select, finder, parsed, path_of, put, word_of

ANSWER = {
    "a": {"b": 1, "c.d": 2, "0": "key"},
    "list": [{"type": "P1", "value": "7"}, {"type": 2, "value": 8}, [9]],
    "switch:0": {"on": True},
    "null": None,
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a.b", 1),
        ('a."c.d"', 2),
        ("a.0", "key"),
        ("list.0.value", "7"),
        ("list[1].value", 8),
        ("list[2][0]", 9),
        ("list[type=P1].value", "7"),
        ("list[type=2].value", 8),
        ("switch:0.on", True),
        ("$.a.b", 1),
        ("null", None),
        ("list[3]", ABSENT),
        ("list[type=P9].value", ABSENT),
        ("list.x", ABSENT),
        ("a[0]", ABSENT),
        ("a.b.c", ABSENT),
        ("null.x", ABSENT),
    ],
)
def test_a_path_finds_what_stands_there(path: str, found: Any) -> None:
    assert finder([path_of(path)])(ANSWER, ANSWER) is found or finder([path_of(path)])(ANSWER, ANSWER) == found


@pytest.mark.parametrize(
    "text", ["", ".", "a.", ".a", "a..b", "a b", "a[", "a[x", "a]", 'a."b', '""', "$a", "a$[", "a[1234]", 5, None]
)
def test_what_is_no_path_is_refused(text: object) -> None:
    assert parsed(text) is None


def test_of_several_paths_the_first_that_holds_something_counts() -> None:
    find = finder([path_of("null"), path_of("a"), path_of("a.b")])
    assert find(ANSWER, ANSWER) == 1
    assert finder([path_of("nowhere"), path_of("null")])(ANSWER, ANSWER) is None


def test_a_row_is_not_the_whole_answer() -> None:
    assert finder([path_of("b")])(ANSWER["a"], ANSWER) == 1
    assert finder([path_of("$.a.b")])({}, ANSWER) == 1


@given(st.text(alphabet='ab0.$[]="= ', max_size=12))
def test_any_text_is_a_path_or_none_and_what_is_put_there_is_found_there(text: str) -> None:
    path = parsed(text)
    if path is None or (path.steps and isinstance(path.steps[-1], Select)):  # the last step of that one is an object, no value
        return
    holder = put(None, path.steps, 5)
    assert finder([path])(holder, holder) == 5


def test_words_are_compared_as_numbers_and_texts_alike() -> None:
    assert word_of(1) == word_of(1.0) == word_of(" 1 ") == "1"
    assert (word_of(True), word_of(None), word_of([]), word_of(1.5)) == ("true", None, None, "1.5")
    assert word_of(10**5000) is None


@pytest.mark.parametrize(
    ("written", "means"),
    [
        ("2023/10/26T18:53:40z", "2023-10-26T18:53:40Z"),
        ("2018.02.04 23:17:01", "2018-02-04T23:17:01Z"),
        ("2025-01-01 00:05:00Z", "2025-01-01T00:05:00Z"),
        ("2020-06-08T15:30:16.669152", "2020-06-08T15:30:16.669152Z"),
        ("2025-11-05T00:57:28.000Z", "2025-11-05T00:57:28Z"),
        ("2019-02-15T23:32:49.573Z", "2019-02-15T23:32:49.573Z"),
        ("2023-10-16T06:00:00-06:00", "2023-10-16T12:00:00Z"),
        (1667666162, "2022-11-05T16:36:02Z"),
        ("1584204767", "2020-03-14T16:52:47Z"),
        (1667666162500, "2022-11-05T16:36:02.500Z"),
        ("xyz", None),
        ("2023-13-01 00:00:00", None),
        ("2023-01-01 00:00:00+99:00", None),
        ("0001-01-01 00:00:00+10:00", None),
        (683681, None),
        (True, None),
        (float("nan"), None),
        (None, None),
        ([], None),
    ],
)
def test_times_of_many_makers_become_one_spelling(written: Any, means: str | None) -> None:
    assert stamp(written) == means


def test_a_time_without_a_zone_stays_one_where_the_device_knows_none() -> None:
    assert stamp("2018.02.04 23:17:01", local=True) == "2018-02-04T23:17:01"
    assert stamp("2018-02-04T23:17:01Z", local=True) == "2018-02-04T23:17:01Z"


@given(st.text(max_size=40) | st.floats() | st.integers() | st.none())
def test_no_value_makes_the_clock_fail(value: Any) -> None:
    text = stamp(value)
    assert text is None or moment_of(text) is not None
