"""Stations, sensors and gateways over HTTP: what is shown, to whom, page by page; and how a gateway comes in."""

import pytest

from hub.auth.tokens import Role
from hub.fleet import broker
from hub.fleet.enrolment import invite, revoke
from readings.sample import Channel
from tests.hub.face import HOUR_MS, MINUTE_MS, Face, now_ms, problem
from tests.hub.field import Gateway


def test_a_station_shows_its_place_its_sensors_and_their_newest_values_with_flags(face: Face) -> None:
    face.station("unilag-01", samples=3)
    found = face.get("/api/v1/stations").json()
    assert found["meta"] == {"limit": 100, "next": None}
    station = found["results"][0]
    assert (station["name"], station["latitude"], station["longitude"]) == ("unilag-01", 6.51581, 3.38982)
    assert (station["altitude_m"], station["timezone"], station["visibility"]) == (12.0, "Africa/Lagos", "public")
    sensor = station["sensors"][0]
    assert (sensor["name"], sensor["profile"], sensor["maker"], sensor["model"]) == (
        "unilag-01/pm",
        "plantower.pms5003",
        "plantower",
        "pms5003",
    )
    assert sensor["station"] == station["id"]
    assert sensor["channels"][0] == {
        "parameter": "pm2_5",
        "unit": "ug/m3",
        "place": "ambient",
        "period_s": 0,
        "resolution": 1.0,
    }
    assert sensor["latest"]["values"] == {"pm2_5": 14, "pm10": 31.7, "temperature": 21.5}
    assert sensor["latest"]["units"]["pm10"] == "ug/m3"
    assert sensor["latest"]["flags"]["pm2_5"] == 1
    assert sensor["caveats"]
    assert station["last_seen"].endswith("Z")
    assert face.get(f"/api/v1/stations/{station['id']}").json() == station
    assert face.get(f"/api/v1/sensors/{sensor['id']}").json() == sensor


@pytest.mark.parametrize("state", ["no_data", "warming_up", "error", "no_answer"])
def test_why_a_sensor_gives_nothing_is_told_and_zero_is_a_value(face: Face, state: str) -> None:
    gateway = face.station("unilag-01", samples=1)
    (sensor,) = face.get("/api/v1/sensors").json()["results"]
    assert sensor["state"] == "ok"
    lo = len(gateway.rows) + 1
    gateway.sample([0, 0, 0], now_ms() + 1000)
    face.feed(gateway, lo)
    (sensor,) = face.get("/api/v1/sensors").json()["results"]
    assert (sensor["state"], sensor["latest"]["values"]["pm2_5"], sensor["latest"]["flags"]["pm2_5"]) == ("ok", 0, 1)
    gateway.event("sensor_state", {"state": state, "why": "as told"}, now_ms() + 2000, "pm")
    face.feed(gateway, lo + 1)
    (sensor,) = face.get("/api/v1/sensors").json()["results"]
    assert (sensor["state"], set(sensor["latest"]["flags"].values())) == (state, {9})


def test_a_sensor_is_found_by_its_name(face: Face) -> None:
    face.station("unilag-01", samples=1)
    face.station("unilag-02", samples=1)
    found = face.get("/api/v1/sensors", params={"name": "unilag-02/pm"}).json()["results"]
    assert [sensor["name"] for sensor in found] == ["unilag-02/pm"]
    for name in ("unilag-03/pm", "unilag-02", "pm", "unilag-02/pm/x", ""):
        assert face.get("/api/v1/sensors", params={"name": name}).json()["results"] == []


def test_a_list_goes_on_where_its_link_says(face: Face) -> None:
    for n in range(5):
        face.station(f"unilag-0{n}", samples=1)
    path, names, pages = "/api/v1/stations?limit=2", [], 0
    while path:
        answer = face.get(path)
        names += [station["name"] for station in answer.json()["results"]]
        pages += 1
        path = answer.links.get("next", {}).get("url", "")
        assert bool(path) == bool(answer.json()["meta"]["next"])
    assert (names, pages) == ([f"unilag-0{n}" for n in range(5)], 3)


@pytest.mark.parametrize("cursor", ["x", "WyJzZW5zb3JzIiwxXQ", "WyJzdGF0aW9ucyIsMSwyXQ", "WyJzdGF0aW9ucyIsIngiXQ", "e30"])
def test_a_cursor_of_another_list_is_refused(face: Face, cursor: str) -> None:
    said = problem(face.get("/api/v1/stations", params={"cursor": cursor}), 422, "invalid-request")
    assert said["errors"][0]["name"] == "cursor"


def test_a_list_that_has_not_changed_is_not_sent_again(face: Face) -> None:
    face.station(samples=1)
    first = face.get("/api/v1/sensors")
    again = face.get("/api/v1/sensors", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    face.station("unilag-02", samples=1)
    assert face.get("/api/v1/sensors", headers={"If-None-Match": first.headers["etag"]}).status_code == 200


def seed_visibility(face: Face, visibility: str) -> int:
    invite(face.database, "unilag-01", visibility=visibility)
    gateway = Gateway("unilag-01")
    gateway.start({"name": "hidden place", "lat": 6.51581, "lon": 3.38982})
    gateway.schema()
    gateway.sample([12, 315, 2150], now_ms())
    face.feed(gateway)
    return int(face.get("/api/v1/sensors", token=face.token()).json()["results"][0]["id"])


def test_a_private_station_and_all_that_stands_there_is_unknown_to_strangers(face: Face) -> None:
    sensor = seed_visibility(face, "private")
    stranger = face.token(Role.AUTHENTICATED, networks=(99,))
    for token in (None, stranger):
        assert face.get("/api/v1/stations", token=token).json()["results"] == []
        assert face.get("/api/v1/sensors?name=unilag-01/pm", token=token).json()["results"] == []
        assert face.get("/api/v1/dashboard/realtime", token=token).json()["stations"] == []
        hidden = [face.get(path, token=token) for path in (f"/api/v1/sensors/{sensor}", f"/api/v1/sensors/{sensor}/readings")]
        unknown = [face.get(path, token=token) for path in ("/api/v1/sensors/99", "/api/v1/sensors/99/readings")]
        for one, other in zip(hidden, unknown, strict=True):
            assert problem(one, 404, "not-found") | {"instance": ""} == problem(other, 404, "not-found") | {"instance": ""}
        problem(face.get("/api/v1/stations/1", token=token), 404, "not-found")
    member = face.token(Role.AUTHENTICATED, networks=(1,))
    assert face.get("/api/v1/stations", token=member).json()["results"][0]["name"] == "hidden place"
    assert face.get(f"/api/v1/sensors/{sensor}/readings", token=member).status_code == 200


def test_a_coarse_station_is_shown_to_about_a_kilometre(face: Face) -> None:
    seed_visibility(face, "coarse")
    places = {}
    for who, token in (("stranger", None), ("member", face.token(Role.AUTHENTICATED, networks=(1,)))):
        station = face.get("/api/v1/stations", token=token).json()["results"][0]
        assert station["visibility"] == "coarse"
        places[who] = (station["latitude"], station["longitude"])
    assert places == {"stranger": (6.52, 3.392), "member": (6.51581, 3.38982)}


def hours(face: Face, count: int, micrograms: int = 28) -> None:
    """A sample a minute for the last whole hours."""
    face.enrol("unilag-01")
    gateway = Gateway("unilag-01")
    end = now_ms() // HOUR_MS * HOUR_MS
    gateway.start({"name": "gate"}, at_ms=end - count * HOUR_MS)
    gateway.schema()
    for minute in range(count * 60):
        gateway.sample([micrograms, 315, 2150], end - minute * MINUTE_MS)
    face.feed(gateway)


def test_a_station_has_the_category_of_its_hourly_nowcast(face: Face) -> None:
    hours(face, 3)
    index = face.get("/api/v1/stations/1").json()["index"]
    assert index["time"].endswith(":00:00.000Z")
    assert index | {"time": None} == {
        "parameter": "pm2_5",
        "standard": "us-epa-aqi",
        "version": "2024-05",
        "averaging": "nowcast_12h",
        "input": "raw",
        "value": 28.0,
        "unit": "ug/m3",
        "aqi": 86,
        "category": "moderate",
        "reason": None,
        "completeness": 0.25,
        "time": None,
    }


def test_an_index_without_enough_hours_says_why(face: Face) -> None:
    hours(face, 1)
    index = face.get("/api/v1/dashboard/realtime").json()["stations"][0]["index"]
    assert (index["value"], index["category"], index["reason"], index["completeness"]) == (None, None, "not_enough_data", 0.08)


def test_a_station_that_measures_no_particles_has_no_index(face: Face) -> None:
    face.enrol("unilag-01")
    gateway = Gateway("unilag-01")
    gateway.start({"name": "gate"})
    gateway.schema("meter", [Channel("voltage_l1n", "V", -1)], "eastron.sdm230")
    gateway.sample([2301], now_ms(), "meter")
    face.feed(gateway)
    assert face.get("/api/v1/stations/1").json()["index"] is None


def test_gateways_are_for_admins(face: Face) -> None:
    face.station("unilag-01", samples=2)
    invite(face.database, "unilag-02")
    for path in ("/api/v1/gateways", "/api/v1/gateways/unilag-01", "/api/v1/gateways/unilag-01/ledger"):
        problem(face.get(path), 401, "unauthorized")
        problem(face.get(path, token=face.token(Role.AUTHENTICATED)), 403, "forbidden")
    found = face.get("/api/v1/gateways", token=face.token()).json()["results"]
    assert [(one["name"], one["state"], one["sensors"]) for one in found] == [
        ("unilag-01", "enrolled", 1),
        ("unilag-02", "invited", 0),
    ]
    assert face.get("/api/v1/gateways/unilag-01", token=face.token()).json() == found[0]
    problem(face.get("/api/v1/gateways/no", token=face.token()), 404, "not-found")
    problem(face.get("/api/v1/gateways/no/ledger", token=face.token()), 404, "not-found")


def test_an_admin_of_another_network_finds_no_gateway(face: Face) -> None:
    face.station("unilag-01", samples=1)
    for path in ("/api/v1/gateways/unilag-01", "/api/v1/gateways/unilag-01/ledger"):
        problem(face.get(path, token=face.token(networks=(99,))), 404, "not-found")
    assert face.get("/api/v1/gateways", token=face.token(networks=(99,))).json()["results"] == []


def test_the_ledger_tells_what_was_produced_stored_and_is_pending(face: Face) -> None:
    gateway = face.station("unilag-01", samples=10)
    gateway.samples(10, from_ms=now_ms())
    face.front.answer(gateway.name, gateway.hello())
    found = face.get("/api/v1/gateways/unilag-01/ledger", token=face.token()).json()
    counters = {"produced": 22, "stored": 12, "dead_lettered": 0, "tombstoned": 0, "lost": 0, "pending": 10}
    assert found["counters"] == counters
    stream = found["streams"][0]
    assert (stream["stream"], stream["held"], stream["gone"], stream["counts"]) == (gateway.stream, [[1, 12]], [], counters)
    assert found["gaps"] == [[gateway.stream, [[13, 22]]]]
    face.feed(gateway, 13)
    assert face.get("/api/v1/gateways/unilag-01/ledger", token=face.token()).json()["counters"]["pending"] == 0


def test_a_token_is_traded_for_a_credential_once(face: Face) -> None:
    token = invite(face.database, "unilag-01")
    answer = face.http.post("/api/v1/enrol", json={"token": token})
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    credential = answer.json()
    assert set(credential) == {"gateway", "password", "key", "key_version", "ca"}
    assert (credential["gateway"], len(bytes.fromhex(credential["key"])), credential["ca"]) == ("unilag-01", 32, None)
    assert "unilag-01" in broker.users(face.settings.broker)
    problem(face.http.post("/api/v1/enrol", json={"token": token}), 409, "enrolment-token-used")


def test_a_token_that_cannot_be_traded_says_which_way(face: Face) -> None:
    expired = invite(face.database, "unilag-01", now_ms=0)
    problem(face.http.post("/api/v1/enrol", json={"token": expired}), 410, "enrolment-token-expired")
    said = problem(face.http.post("/api/v1/enrol", json={"token": expired[:20]}), 422, "enrolment-token-cut")
    assert "20 characters" in said["detail"]
    problem(face.http.post("/api/v1/enrol", json={"token": "0" * 48}), 404, "enrolment-token-unknown")
    withdrawn = invite(face.database, "unilag-02")
    revoke(face.database, "unilag-02", broker_dir=face.settings.broker)
    problem(face.http.post("/api/v1/enrol", json={"token": withdrawn}), 410, "enrolment-token-revoked")


def test_a_hub_without_a_broker_folder_keeps_the_token_good(face: Face) -> None:
    token = invite(face.database, "unilag-01")
    passwords = face.settings.broker / "passwords"
    kept = passwords.read_text()
    passwords.unlink()
    problem(face.http.post("/api/v1/enrol", json={"token": token}), 503, "unavailable")
    passwords.write_text(kept)
    assert face.http.post("/api/v1/enrol", json={"token": token}).status_code == 200
