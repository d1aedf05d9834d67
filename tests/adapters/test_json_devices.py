"""Every JSON device of the catalogue: it speaks what it understands, and no answer whatever makes its reader fail."""

import json
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.catalogue import Catalogue
from adapters.decode import Fault, Reading, decoder
from adapters.decode.jsonbody import encoder
from adapters.decode.jsonpath import MAX_ROWS
from adapters.decode.reading import Scale, plan_of
from adapters.profile import JsonWire, Profile

CATALOGUE = Catalogue.load()
DEVICES = [CATALOGUE.get(name) for name in CATALOGUE.ids() if isinstance(CATALOGUE.get(name).wire, JsonWire)]
LAYOUTS = [(profile, kind) for profile in DEVICES for kind in ("", *profile.messages)]
READERS = {profile.id: decoder(profile) for profile in DEVICES}
CODES = re.compile(r"not_json|schema_mismatch|no_data|(api|device)_error(:.{1,64})?")
few = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def read(profile: Profile, body: Any) -> list[Reading | Fault]:
    return READERS[profile.id].feed(body if isinstance(body, bytes) else json.dumps(body).encode())


def test_the_devices_are_there() -> None:
    assert len(DEVICES) >= 15


@pytest.mark.parametrize(("profile", "kind"), LAYOUTS, ids=lambda value: getattr(value, "id", value))
@few
@given(data=st.data())
def test_what_is_encoded_decodes_to_the_same_numbers(profile: Profile, kind: str, data: st.DataObject) -> None:
    fields = {**(profile.messages[kind].fields if kind else profile.fields)}
    numbers = [name for name, field in fields.items() if field.type not in ("text", "time")]
    needed = {name for name in numbers if fields[name].required}
    chosen = data.draw(st.dictionaries(st.sampled_from(numbers), st.integers(1, 4000), min_size=1))
    chosen |= dict.fromkeys(needed - chosen.keys(), 7)
    steps = {name: (fields[name].step or 1) for name in chosen}
    scales = _scales(profile, kind)
    values = {name: scales[name].value(count * steps[name]) or 0.0 for name, count in chosen.items()}
    heard: dict[str, float | None] = {}
    for reading in read(profile, encoder(profile, kind)(values)):
        assert isinstance(reading, Reading), reading
        heard |= {name: value for name, value in reading.values.items() if value is not None}
    assert heard.keys() == values.keys()
    for name, value in values.items():
        assert heard[name] == pytest.approx(value, abs=abs(steps[name] * scales[name].factor) / 1000)


def _scales(profile: Profile, kind: str) -> dict[str, Scale]:
    plan = plan_of(profile, profile.messages[kind] if kind else None)
    return dict(zip(plan.names, plan.scales, strict=True))


def _words(profile: Profile) -> list[str]:
    """Keys and words that this profile looks for."""
    text = " ".join(map(repr, (profile.wire, profile.fields, profile.states, profile.status, profile.messages)))
    return sorted(set(re.findall(r"[A-Za-z_][\w:]*(?:\.[\w]+)?", text)))[:400]


@pytest.mark.parametrize("profile", DEVICES, ids=lambda profile: profile.id)
@few
@given(data=st.data())
def test_no_answer_makes_a_reader_fail(profile: Profile, data: st.DataObject) -> None:
    words = st.sampled_from(_words(profile))
    leaf = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | words | st.just("-1")
    body = data.draw(st.recursive(leaf, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=5)))
    captured = data.draw(st.booleans())
    if captured:  # a real answer in which something has gone wrong
        body = _damaged(profile, data, body)
    for result in read(profile, body):
        _holds(result)


def _damaged(profile: Profile, data: st.DataObject, junk: Any) -> Any:
    names = [name for name, field in profile.fields.items() if field.type not in ("text", "time")]
    body = json.loads(encoder(profile)(dict.fromkeys(names, 12.0)))
    here = body
    while isinstance(here, (dict, list)) and here:
        key = data.draw(st.sampled_from(sorted(here))) if isinstance(here, dict) else data.draw(st.integers(0, len(here) - 1))
        if data.draw(st.booleans()) or not isinstance(here[key], (dict, list)):
            here[key] = junk
            break
        here = here[key]
    return body


def _holds(result: Reading | Fault) -> None:
    if isinstance(result, Fault):
        assert CODES.fullmatch(result.code), result
        return
    for value, scaled, flag in zip(result.values.values(), result.scaled, result.flags, strict=True):
        assert (value is None) == (scaled is None) == (flag == 9)
        assert scaled is None or abs(scaled) <= 2**53
    assert all(len(text) <= 64 and text.isprintable() for text in result.texts.values())


@pytest.mark.parametrize("profile", DEVICES, ids=lambda profile: profile.id)
@few
@given(body=st.binary(max_size=60))
def test_no_bytes_make_a_reader_fail(profile: Profile, body: bytes) -> None:
    for result in read(profile, body):
        _holds(result)


@pytest.mark.parametrize("profile", DEVICES, ids=lambda profile: profile.id)
def test_a_web_page_and_an_answer_without_end_are_no_json(profile: Profile) -> None:
    for body in (b"<html>captive portal</html>", b"", b"[" * 100_000, b'{"a":' * 50_000, b"1" * 10_000, b"\xff"):
        assert [result.code for result in read(profile, body) if isinstance(result, Fault)] == ["not_json"]


def test_a_list_without_end_is_cut() -> None:
    body = b"[" + b",".join([b"{}"] * (MAX_ROWS + 50)) + b"]"
    assert len(read(CATALOGUE.get("airgradient.cloud"), body)) == MAX_ROWS


def test_numbers_that_are_none_stay_none() -> None:
    profile = CATALOGUE.get("sensorcommunity.airrohr")
    wrong: list[Any] = ["", "nan", "1e3", "0x10", True, [], {}, "١٢"]
    for value in wrong:
        body = {"sensordatavalues": [{"value_type": "SDS_P1", "value": value}, {"value_type": "SDS_P2", "value": "2.5"}]}
        (reading,) = read(profile, body)
        assert isinstance(reading, Reading)
        assert (reading.values["sds.pm10"], reading.values["sds.pm2_5"], reading.flags[:1]) == (None, 2.5, (9,))


def test_zero_missing_no_data_and_error_are_four_things() -> None:
    profile = CATALOGUE.get("davis.weatherlink-live")
    record = {"data_structure_type": 1, "temp": 32.0, "wind_speed_last": 0, "hum": None}
    (reading,) = read(profile, {"data": {"conditions": [record]}, "error": None})
    assert isinstance(reading, Reading)
    assert (reading.values["temperature"], reading.values["wind_speed"], reading.values["relative_humidity"]) == (0, 0, None)
    assert read(profile, {"data": {"conditions": []}, "error": None}) == [Fault("no_data")]
    assert read(profile, {"data": None, "error": {"code": 409}}) == [Fault("api_error:409")]


def test_a_lost_transmitter_marks_what_it_measured_and_nothing_else() -> None:
    profile = CATALOGUE.get("davis.weatherlink-live")
    records = [{"data_structure_type": 1, "temp": 50.0, "rx_state": 2}, {"data_structure_type": 3, "bar_absolute": 30.0}]
    (reading,) = read(profile, {"data": {"conditions": records}, "error": None})
    assert isinstance(reading, Reading)
    flags = dict(zip(reading.plan.names, reading.flags, strict=True))
    assert (flags["temperature"], flags["pressure"], flags["relative_humidity"]) == (3, 1, 9)


def test_the_answer_names_its_units() -> None:
    profile = CATALOGUE.get("tasmota.sns")
    for unit, value, want in (("C", 20, 20), ("F", 68, 20), ("Q", 20, None), (None, 20, 20)):
        (reading,) = read(profile, {"HTU21": {"Temperature": value}, "TempUnit": unit})
        assert isinstance(reading, Reading)
        assert reading.values["htu21.temperature"] == (None if want is None else pytest.approx(want))
        assert ("unknown_unit" in reading.notes) == (want is None)


def test_channels_apart_are_marked_and_kept() -> None:
    profile = CATALOGUE.get("purpleair.local")
    for a, b, apart in ((1.0, 25.0, True), (100.0, 140.0, False), (1.0, 4.0, False), (5.0, None, False)):
        body = {"DateTime": "2023/10/26T18:53:40z", "pm2_5_cf_1": a, "pm2_5_cf_1_b": b}
        (reading,) = read(profile, body)
        assert isinstance(reading, Reading)
        assert reading.values["pm2_5_cf1_a"] == a
        assert ("channel_disagreement:pm2_5" in reading.notes) is apart


def test_a_table_follows_the_names_of_its_columns() -> None:
    profile = CATALOGUE.get("purpleair.cloud")
    results = read(profile, {"fields": ["pm2.5", "sensor_index"], "data": [[1.5, 7], [None, 8], "odd"]})
    assert [result.values["pm2_5"] for result in results if isinstance(result, Reading)] == [1.5, None]
    assert isinstance(results[2], Fault)


def test_a_shelly_of_the_first_generation_counts_watt_minutes() -> None:
    profile = CATALOGUE.get("shelly.status")
    (reading,) = read(profile, {"meters": [{"power": 0, "total": 120_000}], "temperature": 40.5})
    assert isinstance(reading, Reading)
    assert (reading.values["energy_total"], reading.values["power_active"]) == (2, 0)
    (old,) = read(profile, {"meters": [{"total": 1}]})
    assert old == Fault("schema_mismatch", "none of this profile's keys is there")
