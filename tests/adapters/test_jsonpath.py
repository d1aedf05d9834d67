"""Grammar jsonpath: a body in, a reading out; nothing passes for another number."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.catalogue import Catalogue
from adapters.decode import Fault, Reading, decoder, encoder

PROFILE = Catalogue.load().get("airgradient.local")
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


def read(body: Any) -> Reading | Fault:
    (result,) = decoder(PROFILE).feed(body if isinstance(body, bytes) else json.dumps(body).encode())
    return result


@given(st.dictionaries(st.sampled_from(PROFILE.numbers), st.integers(-40, 40_000), min_size=1))
def test_what_is_encoded_decodes_to_the_same_numbers(steps: dict[str, int]) -> None:
    plan = decoder(PROFILE).plan
    exponents = {channel.parameter: channel.exponent for channel in plan.channels}
    values = {name: step * 10.0 ** exponents[name] for name, step in steps.items() if (name, step) != ("co2", -2)}
    if not values:
        return
    reading = read(encoder(PROFILE)(values))
    assert isinstance(reading, Reading)
    assert {name: scaled for name, scaled in zip(plan.names, reading.scaled, strict=True) if name in values} == {
        name: steps[name] for name in values
    }


@given(st.dictionaries(st.sampled_from(["pm02", "rco2", "atmp", "firmware", "model", "wifi"]), json_values, min_size=1))
def test_whatever_stands_at_a_known_key_gives_finite_numbers_or_none(body: dict[str, Any]) -> None:
    result = read(body)
    assert isinstance(result, Reading)
    for value, scaled, flag in zip(result.values.values(), result.scaled, result.flags, strict=True):
        assert (value is None) == (scaled is None) == (flag == 9)
        assert scaled is None or abs(scaled) <= 2**53
    assert all(len(text) <= 64 and text.isprintable() for text in result.texts.values())


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_fail(body: bytes) -> None:
    assert isinstance(read(body), (Reading, Fault))


def test_renamed_keys_are_found_under_their_other_names() -> None:
    reading = read({"tvoc_index": 100, "tvoc_raw": 33051, "firmwareVersion": "3.0.10beta"})
    assert isinstance(reading, Reading)
    assert (reading.values["voc_index"], reading.values["voc_raw"]) == (100, 33051)
    assert reading.texts == {"firmware": "3.0.10beta"}


def test_a_sentinel_is_missing_and_zero_is_a_value() -> None:
    reading = read({"rco2": -2, "pm02": 0})
    assert isinstance(reading, Reading)
    assert (reading.values["co2"], reading.values["pm2_5"]) == (None, 0)


def test_right_after_a_boot_there_are_no_measurements_yet() -> None:
    reading = read({"wifi": -59, "firmware": "3.0.8"})
    assert isinstance(reading, Reading)
    assert reading.notes == ("no_measurements_yet",)
    assert reading.values["rssi"] == -59


@pytest.mark.parametrize("text", ["1,5", "0x10", "1e3", "", " ", "NaN", "١٢"])
def test_text_that_is_no_plain_numeral_is_missing(text: str) -> None:
    reading = read({"pm02": text, "wifi": 1})
    assert isinstance(reading, Reading)
    assert reading.values["pm2_5"] is None
    assert "not_a_number" in reading.notes
