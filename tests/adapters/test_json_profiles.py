"""A JSON device is added by a file alone; a wrong file is told what is wrong with it."""

import json
from pathlib import Path

import pytest

from adapters.catalogue import Catalogue
from adapters.decode import Reading, decoder
from adapters.document import Mistakes
from adapters.profile import Profile, parse

BOX = """
profile: acme.cloudbox
models: [Cloud Box]
source: made up
wire:
  grammar: jsonpath
  rows: "result.items[]"
  newest: at
  quoted: true
  missing: [n/a]
  split: ;
  more: {next: result.cursor}
states:
  error: {at: ok, equals: "false", says: why, code: api_error}
status:
  door_open: {at: door, equals: [open, ajar], of: [pm2_5]}
fields:
  timestamp: {at: at, type: time, required: true}
  serial: {at: $.id, type: text}
  pm2_5: {at: 'air."pm 2.5"', unit: ug/m3, step: 0.1}
  temperature: {at: "air.probes[name=outside].t", unit_at: $.unit, units: {fahrenheit: degF}, unit: degC, step: 0.1}
  rain_daily: {at: tips, scale_at: $.bucket, scales: {small: 0.1, big: 0.5}, unit: mm, step: 0.1}
  voltage: {at: power, part: 1, unit: mV, step: 1}
  co2: {at: gas.value, when: {gas.kind: [co2, carbon dioxide]}, unit: ppm, step: 1}
""".lstrip()
ANSWER = {
    "ok": True,
    "id": "B7",
    "unit": "fahrenheit",
    "bucket": "big",
    "result": {
        "cursor": "abc",
        "items": [
            {"at": "2024-01-01T00:00:00Z"},
            {
                "at": 1704067260,
                "air": {"pm 2.5": "12.5", "probes": [{"name": "inside", "t": "80"}, {"name": "outside", "t": "50"}]},
                "tips": "4",
                "power": "1;3300;2",
                "gas": {"kind": "carbon dioxide", "value": "415"},
                "door": "ajar",
            },
        ],
    },
}


def profile_in(folder: Path, text: str) -> Profile:
    place = folder / "acme" / "cloudbox.yaml"
    place.parent.mkdir()
    place.write_text(text)
    return Catalogue.load([folder]).get("acme.cloudbox")


def test_a_device_of_a_folder_is_read_by_its_file_alone(tmp_path: Path) -> None:
    (reading,) = decoder(profile_in(tmp_path, BOX)).feed(json.dumps(ANSWER).encode())
    assert isinstance(reading, Reading)
    values = reading.values
    assert (values["pm2_5"], values["co2"], values["rain_daily"]) == (12.5, 415, 2)
    assert values["voltage"] == pytest.approx(3.3)
    assert values["temperature"] == pytest.approx(10)
    assert reading.texts == {"timestamp": "2024-01-01T00:01:00Z", "serial": "B7"}
    assert set(reading.notes) == {"more_pages", "door_open"}
    assert dict(zip(reading.plan.names, reading.flags, strict=True))["pm2_5"] == 3


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("result.items[]", "result..items", "wire.rows: 'result..items' is no JSON path"),
        ("newest: at", "newest: a t", "wire.newest: 'a t' is no JSON path"),
        ("{next: result.cursor}", "{page: result.page}", "wire.more: says nothing; next, or page and pages"),
        ("at: ok,", "at: 5,", "states.error.at: 5 is no JSON path"),
        ("at: door,", 'at: "[",', "status.door_open.at: '[' is no JSON path"),
        ("at: tips", "at: [tips, 'a[']", "fields.rain_daily.at: 'a[' is no JSON path"),
        ("{small: 0.1, big: 0.5}", "{}", "fields.rain_daily.scales: no usable factors"),
        ("big: 0.5", "big: 0", "fields.rain_daily.scales: no usable factors"),
        ("fahrenheit: degF", "fahrenheit: mph", "fields.temperature.units: fahrenheit: "),
        ("unit_at: $.unit, ", "", "fields.temperature.units: where does the answer name its unit?"),
        ("gas.kind: [", '"gas kind": [', "fields.co2.when: 'gas kind' is no JSON path"),
        ("part: 1", "part: -1", "fields.voltage.part"),
        ("required: true", "required: maybe", "fields.timestamp.required"),
        ("type: time, required", "type: u16, required", "fields.timestamp"),
    ],
)
def test_a_wrong_entry_is_told_with_its_key(right: str, wrong: str, said: str) -> None:
    assert right in BOX
    with pytest.raises(Mistakes) as mistakes:
        parse(BOX.replace(right, wrong).encode(), Path("acme/cloudbox.yaml"))
    assert any(said in line for line in mistakes.value.lines), mistakes.value.lines


def test_keys_of_json_are_refused_in_other_grammars() -> None:
    text = (
        "profile: a.b\nmodels: [B]\nsource: x\nwire: {grammar: registers}\nfields:\n  voltage: {at: 1, part: 1, required: true}\n"
    )
    with pytest.raises(Mistakes) as mistakes:
        parse(text.encode(), Path("a/b.yaml"))
    assert sum("it is for grammar jsonpath" in line for line in mistakes.value.lines) == 2
