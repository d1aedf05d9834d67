"""A device is supported when its captured bytes are in the tree: every profile has a capture, and every capture holds."""

import json
from pathlib import Path

import pytest

from adapters.catalogue import Catalogue, shipped_dir
from adapters.decode import Fault, Result
from adapters.profile import Profile
from adapters.sensor import open_sensor
from adapters.transport.base import Unplugged, parse_address
from adapters.vectors import check, decoded, judge, read
from readings.errors import Stop
from readings.parameters import PARAMETERS
from readings.quality import range_flag
from readings.sample import Flag

PROFILES = sorted(shipped_dir().glob("*/*.yaml"))
VECTORS = Path(__file__).resolve().parents[3] / "shared" / "vectors"
"""The published golden vectors, where they lie beside the checkout; the captures hold those of the shipped devices."""


def capture_of(path: Path) -> Path:
    return path.with_suffix(".capture.json")


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_every_profile_has_a_capture_that_holds(path: Path, catalogue: Catalogue) -> None:
    device = f"{path.parent.name}.{path.stem}"
    for file in [capture_of(path), *VECTORS.glob(f"{device}.json")]:
        report = check(file, catalogue)
        assert (report.failures, report.passed > 0) == ([], True)
    for vector in read(capture_of(path)):
        assert vector["device"] == device
        assert {"source", "provenance"} <= vector.keys()
        assert vector["source"]["licence"]


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_every_parameter_of_a_profile_is_proven_by_a_capture(path: Path, catalogue: Catalogue) -> None:
    profile = catalogue.get(f"{path.parent.name}.{path.stem}")
    proven = {name for vector in read(capture_of(path)) for reading in _listed(vector["expect"]) for name in reading}
    assert set(profile.fields) - proven <= UNPROVEN.get(profile.id, set())


UNPROVEN = {
    "airgradient.local": {"pm1_0_cf1", "pm2_5_cf1", "pm10_cf1", "n_gt_1_0um", "n_gt_2_5um", "n_gt_5_0um", "n_gt_10um", "model"},
}
"""Their bytes are in a capture; nobody else has said what they mean."""


def _listed(expect: object) -> list[dict[str, object]]:
    return expect if isinstance(expect, list) else [expect] if isinstance(expect, dict) else []


def test_the_flags_that_captures_ask_for_are_raised(catalogue: Catalogue) -> None:
    asked = 0
    for path in PROFILES:
        profile = catalogue.get(f"{path.parent.name}.{path.stem}")
        for vector in read(capture_of(path)):
            raised = {flag for result in decoded(profile, vector) for flag in _raised(result, profile)}
            missed = [flag for flag in vector.get("expect_flags", ()) if not {flag, flag.partition(":")[0]} & raised]
            assert missed == [], vector["id"]
            asked += bool(vector.get("expect_flags"))
    assert asked >= 2


def _raised(reading: Result, profile: Profile) -> set[str]:
    """The notes, and by the words that captures use: which values are missing, which out of their range."""
    if isinstance(reading, Fault):
        return {reading.code}
    raised = set(reading.notes)
    for (name, value), flag in zip(reading.values.items(), reading.flags, strict=True):
        if flag == Flag.MISSING:
            raised |= {f"missing:{name}", f"invalid:{name}", f"sentinel:{name}"}
        elif range_flag(value, profile.every[name].range or PARAMETERS[name].range, None) == Flag.FAIL:
            raised.add(f"out_of_range:{name}")
    return raised


def test_a_wrong_expectation_is_a_failure_that_says_both_numbers(catalogue: Catalogue) -> None:
    vector = next(vector for vector in read(capture_of(PROFILES[-1])) if isinstance(vector["expect"], dict) and vector["expect"])
    name = next(iter(vector["expect"]))
    vector["expect"][name]["value"] += 1
    assert "expected" in judge(vector, catalogue)
    vector["expect"][name] = {"value": 0, "unit": "furlong"}
    assert "furlong" in judge(vector, catalogue)


@pytest.mark.parametrize(
    "change",
    [
        {"raw": {}},
        {"raw": {"hex": "4"}},
        {"raw": None},
        {"raw": {"hex": 5}},
        {"expect": [1]},
        {"expect": {"pm2_5": 1}},
        {"expect_error": "bad_tail"},
        {"device": "no.such"},
        {"device": None},
        {"expect": {"pm_unheard_of": {"value": 1}}},
    ],
)
def test_a_vector_that_cannot_hold_says_why(change: dict[str, object], catalogue: Catalogue) -> None:
    vector = {**read(capture_of(PROFILES[-1]))[0], **change}
    assert judge(vector, catalogue)


def test_what_is_no_file_of_vectors_is_a_named_failure(tmp_path: Path, catalogue: Catalogue) -> None:
    assert check(tmp_path, catalogue).failures[0][1] == "no *.json file in this folder"
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "other.json").write_text("[]")
    (tmp_path / "empty.json").write_text('{"schema": "aq-golden-vectors/1", "vectors": []}')
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "bytes.json").write_bytes(b"\xff")
    report = check(tmp_path, catalogue)
    assert (report.passed, report.failed) == (0, 5)
    assert check(tmp_path / "absent.json", catalogue).failed == 1


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_a_capture_plays_instead_of_hardware(path: Path, catalogue: Catalogue) -> None:
    profile = catalogue.get(f"{path.parent.name}.{path.stem}")
    address = parse_address(f"replay:{capture_of(path).name}", path.parent)
    sensor = open_sensor(profile, address, sensor_id="old", every_s=5)
    for _ in range(20):
        answer = sensor.sample(1)
        assert len(answer.values) == len(answer.flags) == len(sensor.schema.channels)
    sensor.close()


def test_a_capture_that_is_missing_or_empty_is_told(tmp_path: Path, catalogue: Catalogue) -> None:
    profile = catalogue.get("plantower.pms5003")
    with pytest.raises(Unplugged):
        open_sensor(profile, parse_address("replay:absent.json", tmp_path), sensor_id="x", every_s=5).sample(1)
    for number, text in enumerate(["{", "[]", json.dumps({"vectors": []}), json.dumps({"vectors": [{"expect": {"a": 1}}]})]):
        (tmp_path / f"{number}.json").write_text(text)
        with pytest.raises(Stop):
            open_sensor(profile, parse_address(f"replay:{number}.json", tmp_path), sensor_id="x", every_s=5).sample(1)
