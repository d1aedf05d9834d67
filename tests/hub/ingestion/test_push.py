"""Bodies of devices without a gateway, posted as their stock firmware does: they appear as stations."""

import json
import logging
from pathlib import Path
from typing import Any

import httpx2
import pytest

from hub.auth.tokens import NetworkRole
from hub.followers.runner import rebuild
from hub.ingestion.push import row_of
from tests.hub.face import Face, problem
from tests.hub.field import content
from tests.hub.ingestion.conftest import keyed, revoke, second_network

CASES = Path(__file__).parents[2] / "cases" / "push"
AIRROHR, AIRGRADIENT = CASES.joinpath("airrohr.json").read_bytes(), CASES.joinpath("airgradient.json").read_bytes()
FIRMWARE = {
    "User-Agent": "NRZ-2024-135/12345678/a1b2c3d4e5f6",
    "Content-Type": "application/json",
    "X-Sensor": "esp8266-12345678",
    "X-MAC-ID": "esp8266-a1b2c3d4e5f6",
}


@pytest.fixture
def key(face: Face) -> str:
    return keyed(face, "lagos-push", kind="push")


def post(face: Face, path: str, body: bytes, headers: dict[str, str] = FIRMWARE) -> httpx2.Response:
    answer = face.http.post(f"/api/v1/push/{path}", content=body, headers=headers)
    face.followers.catch_up()
    return answer


def only_station(face: Face) -> dict[str, Any]:
    found: list[dict[str, Any]] = face.get("/api/v1/stations").json()["results"]
    assert len(found) == 1
    return found[0]


def test_an_airrohr_posts_as_its_firmware_does_and_is_a_station(face: Face, key: str) -> None:
    answer = post(face, f"airrohr/{key}", AIRROHR)
    assert (answer.status_code, answer.json()["counts"]["stored"]) == (200, 1)
    station = only_station(face)
    sensor = station["sensors"][0]
    assert (station["name"], sensor["name"]) == ("airrohr 12345678", "lagos-push/airrohr-12345678")
    told = (sensor["maker"], sensor["model"], sensor["serial"], sensor["profile"], sensor["firmware"])
    assert told == ("sensorcommunity", "airrohr", "12345678", "sensorcommunity.airrohr", "NRZ-2024-135")
    assert sensor["latest"]["values"] == {
        "sds.pm10": 2.08, "sds.pm2_5": 1.33, "bme280.temperature": 22.02, "bme280.relative_humidity": 38.65,
        "bme280.pressure": 864.7022, "rssi": -68,
    }  # fmt: skip


def test_an_airgradient_posts_under_its_own_path_and_is_a_station(face: Face, key: str) -> None:
    body = {k: v for k, v in json.loads(AIRGRADIENT).items() if k not in ("serialno", "firmware", "model", "ledMode")}
    path = f"airgradient/{key}/sensors/airgradient:84fce612f5b8/measures"
    headers = {"User-Agent": "ESP32HTTPClient", "content-type": "application/json"}
    assert post(face, path, json.dumps(body).encode(), headers).status_code == 200
    assert post(face, f"airgradient/{key}", AIRGRADIENT).status_code == 200
    station = only_station(face)
    sensor = station["sensors"][0]
    assert (station["name"], sensor["name"], sensor["serial"]) == (
        "airgradient 84fce612f5b8", "lagos-push/airgradient-84fce612f5b8", "84fce612f5b8",
    )  # fmt: skip
    values = sensor["latest"]["values"]
    assert (values["pm2_5"], values["co2"], values["n_gt_0_3um"], sensor["firmware"]) == (34, 778, 2.7, "3.1.1")


def test_devices_of_one_key_are_stations_of_their_own_as_visible_as_their_network_says(face: Face) -> None:
    second = second_network(face, visibility="private")
    key = keyed(face, "school-push", kind="push", network=second)
    for number in ("1", "2"):
        assert post(face, f"airrohr/{key}", AIRROHR.replace(b"12345678", number.encode())).status_code == 200
    assert face.get("/api/v1/stations").json()["results"] == []
    token = face.person("v@x.org", networks={second: NetworkRole.VIEWER})
    assert [one["name"] for one in face.get("/api/v1/stations", token).json()["results"]] == ["airrohr 1", "airrohr 2"]


def test_a_device_without_a_number_in_its_body_is_named_by_its_header(face: Face, key: str) -> None:
    body = json.dumps({k: v for k, v in json.loads(AIRROHR).items() if k != "esp8266id"}).encode()
    assert post(face, f"airrohr/{key}", body).status_code == 200
    assert only_station(face)["name"] == "airrohr 12345678"
    problem(post(face, f"airrohr/{key}", body, {"Content-Type": "application/json"}), 422, "invalid-request")


def test_a_channel_that_a_device_stops_giving_is_missing_and_one_that_it_gains_is_added(face: Face, key: str) -> None:
    fewer = {**json.loads(AIRROHR), "sensordatavalues": [{"value_type": "SDS_P2", "value": "5.00"}]}
    more = {**json.loads(AIRROHR), "sensordatavalues": [{"value_type": "DHT_temperature", "value": "30.1"}]}
    for body in (AIRROHR, json.dumps(fewer).encode(), json.dumps(more).encode()):
        assert post(face, f"airrohr/{key}", body).status_code == 200
    latest = only_station(face)["sensors"][0]["latest"]
    assert (latest["values"]["dht22.temperature"], latest["values"]["sds.pm2_5"]) == (30.1, None)
    assert latest["flags"]["sds.pm2_5"] == 9


def test_a_device_that_has_nothing_yet_is_answered_like_any_other(face: Face, key: str) -> None:
    empty = json.dumps({"esp8266id": "1", "software_version": "x", "sensordatavalues": []}).encode()
    answer = post(face, f"airrohr/{key}", empty)
    assert (answer.status_code, answer.json()["results"]) == (200, [])
    booted = json.dumps({"wifi": -50, "boot": 0, "bootCount": 0}).encode()
    assert post(face, f"airgradient/{key}/sensors/1a/measures", booted).json()["counts"]["stored"] in (0, 1)
    failed = {**json.loads(AIRROHR), "sensordatavalues": [{"value_type": "temperature", "value": "-128"}]}
    assert post(face, f"airrohr/{key}", json.dumps(failed).encode()).json()["results"] == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"{}", b"\xff", b"[" * 5000, b'{"wifi": NaN, "pm02": 1}'])
def test_a_body_that_is_no_devices_is_refused_and_kept_for_the_networks_people(face: Face, key: str, body: bytes) -> None:
    answer = post(face, f"airgradient/{key}", body)
    assert answer.status_code in (400, 422), answer.text
    rejects = face.get("/api/v1/networks/1/rejects", face.token()).json()["results"]
    assert [(r["code"], r["route"], r["gateway"]) for r in rejects] in (
        [("body_unreadable", "/push/airgradient", "lagos-push")],
        [("device_unnamed", "/push/airgradient", "lagos-push")],
        [],
    )
    assert content(face.database, "batch") == {"batch": []}


def test_a_wrong_key_answers_like_no_address_and_stands_in_no_log(face: Face, key: str, caplog: pytest.LogCaptureFixture) -> None:
    reader = keyed(face, "lagos-push", scopes="read")
    over = keyed(face, "old-push", kind="push")
    revoke(face, "old-push")
    caplog.set_level(logging.DEBUG, "hub")
    bodies = set()
    for wrong in ("0" * 64, "x", reader, over, key.upper()):
        said = problem(post(face, f"airrohr/{wrong}", AIRROHR), 404, "not-found")
        bodies.add(json.dumps({name: value for name, value in said.items() if name != "instance"}))
    assert len(bodies) == 1
    assert post(face, f"airrohr/{key}", AIRROHR).status_code == 200
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith(("httpx2", "httpcore2"))]
    assert not any(secret in line for line in ours for secret in ("0" * 64, reader, over, key))


def test_a_key_has_a_limit_of_its_own(face: Face, key: str) -> None:
    other = keyed(face, "other-push", kind="push")
    answers = [face.http.post(f"/api/v1/push/airrohr/{key}", content=b"{}").status_code for _ in range(125)]
    assert (answers[0], answers[-1]) == (200, 429)
    assert post(face, f"airrohr/{other}", AIRROHR).status_code == 200


def test_a_wiped_sample_table_is_made_again_alike(face: Face, key: str) -> None:
    post(face, f"airrohr/{key}", AIRROHR)
    post(face, f"airgradient/{key}", AIRGRADIENT)
    before = content(face.database, "sample", "latest")
    assert len(before["sample"]) == 2
    for name in ("samples", "latest"):
        rebuild(face.database, name)
    assert content(face.database, "sample", "latest") == before


def test_the_rows_time_is_its_arrival(face: Face, key: str) -> None:
    from hub.auth.tokens import Caller, Role
    from hub.ingestion.push import AIRROHR as KIND

    with face.database.read() as connection:
        row = row_of(KIND, connection, Caller("x", Role.AUTHENTICATED, {}, gateway=1), AIRROHR, {}, 1_764_000_000_123)
    assert row is not None
    assert row.time_ms == 1_764_000_000_123
