"""A device of each grammar from a folder of files, and the one that firmware-profiles/CONTRIBUTING.md describes. No Python."""

import json
import re
from pathlib import Path

import pytest

from edge.cli import run_command

PROFILES = {
    "acme.frames": """profile: acme.frames
models: [Frames]
source: made up
wire: {grammar: frame, start: f0 0d, length: 6, check: {sum: xor8, at: 5}}
fields: {pm2_5: {at: 2, unit: ug/m3, scale: 0.1}, co2: {at: 4, type: u8, unit: ppm, scale: 10}}
""",
    "acme.registers": """profile: acme.registers
models: [Registers]
source: made up
wire: {grammar: registers, function: 3}
fields: {temperature: {at: 4, type: s16, unit: degC, scale: 0.1}, pressure: {at: 5, type: u32, unit: Pa}}
""",
    "acme.lines": """profile: acme.lines
models: [Lines]
source: made up
wire: {grammar: lines, start: "$", check: {sum: xor_hex, mark: "*"}}
fields: {wind_speed: {at: 1, unit: km/h, step: 0.1}, wind_direction: {at: 2, unit: deg, step: 1}}
""",
    "acme.json": """profile: acme.json
models: [Json]
source: made up
wire: {grammar: jsonpath}
fields: {o3: {at: gas.o3, unit: ppb, step: 0.1}, relative_humidity: {at: rh, unit: "%", step: 1}}
""",
}
SOURCE = {"source": {"doc": "made up", "licence": "n/a"}, "provenance": "synthetic"}
VECTORS = {
    "acme.frames": ({"hex": "f00d007b2a" + "ac"}, {}, {"pm2_5": (12.3, "ug/m3"), "co2": (420, "ppm")}),
    "acme.registers": (
        {"hex": "000100000009010306ffe200018bcd"},
        {"request": {"hex": "000100000006010300040003"}},
        {"temperature": (-3.0, "degC"), "pressure": (1013.25, "hPa")},
    ),
    "acme.lines": ({"text": "$W,36.0,270*79\r\n"}, {}, {"wind_speed": (10.0, "m/s"), "wind_direction": (270, "deg")}),
    "acme.json": ({"json": {"gas": {"o3": 31.5}, "rh": 60}}, {}, {"o3": (31.5, "ppb"), "relative_humidity": (60, "%")}),
}


def vector(device: str) -> dict[str, object]:
    raw, more, expect = VECTORS[device]
    values = {name: {"value": value, "unit": unit} for name, (value, unit) in expect.items()}
    return {"id": f"{device}-1", "device": device, "raw": raw, "expect": values, **more, **SOURCE}


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    code = run_command([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


@pytest.mark.parametrize("device", PROFILES)
def test_a_device_is_added_by_its_files_alone(device: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    claim = tmp_path / f"{device.replace('.', '/')}.yaml"
    claim.parent.mkdir()
    claim.write_text(PROFILES[device])
    proof = claim.with_suffix(".capture.json")
    proof.write_text(json.dumps({"schema": "aq-golden-vectors/1", "device": device, "vectors": [vector(device)]}))
    assert run(capsys, "profiles", "check", tmp_path)[0] == 0
    assert run(capsys, "decode", "--vectors", proof, "--profiles", tmp_path, "--json") == (
        0,
        '{"passed":1,"failed":0,"failures":[]}\n',
    )
    code, said = run(capsys, "read", "--profile", device, "--at", f"replay:{proof}", "--profiles", tmp_path, "--json")
    live = json.loads(said)
    assert (code, live["state"]) == (0, "ok")
    assert live["values"] == pytest.approx({name: value for name, (value, _) in VECTORS[device][2].items()})


def test_the_four_steps_of_the_contributors_page_lead_there(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (root / "firmware-profiles" / "CONTRIBUTING.md").read_text()
    (claim,), (proof,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL), re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    folder = tmp_path / "my-profiles" / "tera"
    folder.mkdir(parents=True)
    (folder / "nextpm.yaml").write_text(claim)
    (folder / "nextpm.capture.json").write_text(proof)
    assert not (root / "firmware-profiles" / "tera").exists(), "choose another device: this one is in the list by now"
    assert run(capsys, "profiles", "check", folder.parent) == (0, f"{folder.parent}: ok: 1 profile\n")
    code, said = run(capsys, "decode", "--profiles", folder.parent, "--vectors", folder / "nextpm.capture.json")
    assert (code, said) == (0, "3 passed, 0 failed\n")
    at = f"replay:{folder / 'nextpm.capture.json'}"
    code, said = run(capsys, "read", "--profiles", folder.parent, "--profile", "tera.nextpm", "--at", at)
    assert code == 0
    assert "pm2_5" in said
    assert "8.3 ug/m3" in said
    assert "81 11 00" in said


def test_a_wrong_claim_is_shown_by_its_proof(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "acme").mkdir()
    (tmp_path / "acme" / "json.yaml").write_text(PROFILES["acme.json"].replace("unit: ppb", "unit: ppm"))
    proof = tmp_path / "acme" / "json.capture.json"
    proof.write_text(json.dumps({"schema": "aq-golden-vectors/1", "device": "acme.json", "vectors": [vector("acme.json")]}))
    code, said = run(capsys, "decode", "--vectors", proof, "--profiles", tmp_path)
    assert code == 1
    assert "acme.json-1: o3 is 31500.0, expected 31.5" in said


def test_a_variant_is_chosen_by_what_a_vector_says_of_its_device(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "acme").mkdir()
    (tmp_path / "acme" / "json.yaml").write_text(PROFILES["acme.json"])
    (tmp_path / "acme" / "json-2.yaml").write_text(
        "profile: acme.json-2\nextends: acme.json\nwhen: {firmware: '2.*'}\nfields: {rh: null, o3: {at: ozone}}\n".replace(
            "rh: null", "relative_humidity: null"
        )
    )
    old, new = vector("acme.json"), vector("acme.json")
    new |= {
        "id": "acme.json-new",
        "firmware": "2.1",
        "raw": {"json": {"ozone": 31.5}},
        "expect": {"o3": {"value": 31.5, "unit": "ppb"}},
    }
    proof = tmp_path / "both.json"
    proof.write_text(json.dumps({"schema": "aq-golden-vectors/1", "device": "acme.json", "vectors": [old, new]}))
    assert run(capsys, "decode", "--vectors", proof, "--profiles", tmp_path)[1] == "2 passed, 0 failed\n"
