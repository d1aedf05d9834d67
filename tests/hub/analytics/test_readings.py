"""Readings over HTTP: the table, its span, its pages and its refusals."""

from datetime import UTC, datetime
from typing import Any

import pytest

from readings.sample import Channel
from tests.hub.face import DAY_MS, MINUTE_MS, Face, now_ms, problem
from tests.hub.field import Gateway

T0 = 1_795_521_600_000
NOON = "2026-11-24T12:00:00.000Z"


@pytest.fixture
def sensor(face: Face) -> str:
    """Ten minutes from noon on, a flag of each kind among them."""
    face.enrol("unilag-01")
    gateway = Gateway("unilag-01")
    gateway.start({"name": "gate"}, at_ms=T0)
    gateway.schema()
    for minute in range(10):
        gateway.sample([12 + minute, None if minute == 3 else 315, 2150], T0 + minute * MINUTE_MS)
    gateway.sample([1200, 20_000_000, 2150], T0 + 10 * MINUTE_MS)
    face.feed(gateway, received_ms=T0 + 20 * MINUTE_MS)
    return "/api/v1/sensors/1/readings"


def read(face: Face, path: str, **params: Any) -> dict[str, Any]:
    answer = face.get(path, params={"from": "2026-11-24T00:00:00Z", "to": "2026-11-25T00:00:00Z", **params})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_table_has_a_value_and_a_flag_for_each_parameter(face: Face, sensor: str) -> None:
    found = read(face, sensor)
    assert found["fields"] == ["time", "pm2_5", "pm2_5_flag", "pm10", "pm10_flag", "temperature", "temperature_flag"]
    assert found["units"] == ["", "ug/m3", "", "ug/m3", "", "degC", ""]
    temperature_flag = found["rows"][0][6]
    assert found["rows"][0] == [NOON, 12, 1, 31.5, 1, 21.5, temperature_flag]
    assert found["rows"][3] == ["2026-11-24T12:03:00.000Z", 15, 1, None, 9, 21.5, temperature_flag]
    assert len(found["rows"]) == 11
    assert found["meta"] == {
        "sensor": 1,
        "name": "unilag-01/pm",
        "from": "2026-11-24T00:00:00.000Z",
        "to": "2026-11-25T00:00:00.000Z",
        "limit": 1000,
        "next": None,
        "licence": None,
        "attribution": None,
        "embargoed_after": None,
    }


def test_from_is_inclusive_and_to_exclusive(face: Face, sensor: str) -> None:
    found = read(face, sensor, **{"from": NOON, "to": "2026-11-24T12:02:00Z"})
    assert [row[0] for row in found["rows"]] == [NOON, "2026-11-24T12:01:00.000Z"]


@pytest.mark.parametrize("offset", ["2026-11-24T13:00:00+01:00", "2026-11-24T12:00:00.000+00:00", "2026-11-24T06:30:00-05:30"])
def test_any_offset_means_the_same_instant(face: Face, sensor: str, offset: str) -> None:
    assert read(face, sensor, **{"from": offset})["rows"][0][0] == NOON
    assert face.get(f"{sensor}?from={offset}&to=2026-11-25T00:00:00Z").json()["rows"][0][0] == NOON


def test_the_last_day_is_read_unless_told_otherwise(face: Face) -> None:
    face.station(samples=5)
    found = face.get("/api/v1/sensors/1/readings").json()
    assert len(found["rows"]) == 5
    span = [datetime.fromisoformat(found["meta"][name]) for name in ("from", "to")]
    assert (span[1] - span[0]).total_seconds() == 86_400
    assert abs((datetime.now(UTC) - span[1]).total_seconds()) < 10


def test_only_the_parameters_asked_for_come_in_the_order_asked(face: Face, sensor: str) -> None:
    found = read(face, sensor, parameters="temperature, pm2_5,temperature", limit=1)
    assert found["fields"] == ["time", "temperature", "temperature_flag", "pm2_5", "pm2_5_flag"]
    assert [found["rows"][0][i] for i in (0, 1, 3)] == [NOON, 21.5, 12]


def test_values_whose_flag_is_higher_than_accepted_are_null_and_keep_their_flag(face: Face, sensor: str) -> None:
    everything = read(face, sensor)["rows"][10]
    assert everything[2] == 3
    assert everything[4] == 4
    accepted = read(face, sensor, flags=3)["rows"]
    assert accepted[10][1:5] == [1200, 3, None, 4]
    assert read(face, sensor, flags=1)["rows"][10][1:5] == [None, 3, None, 4]
    assert len(accepted) == 11


def test_pages_hold_every_row_once_and_in_order(face: Face, sensor: str) -> None:
    rows, cursor, pages = [], None, 0
    while pages == 0 or cursor:
        found = read(face, sensor, limit=4, **({"cursor": cursor} if cursor else {}))
        rows += found["rows"]
        cursor = found["meta"]["next"]
        pages += 1
    assert rows == read(face, sensor)["rows"]
    assert pages == 3


def test_the_next_page_is_a_link_too(face: Face, sensor: str) -> None:
    answer = face.get(f"{sensor}?from={NOON}&limit=10&to=2026-11-25T00:00:00Z&parameters=pm2_5")
    following = face.get(answer.links["next"]["url"])
    assert [row[1] for row in following.json()["rows"]] == [1200]
    assert "next" not in following.links


def test_rows_of_one_millisecond_are_not_lost_between_pages(face: Face) -> None:
    face.enrol("unilag-01")
    gateway = Gateway("unilag-01")
    gateway.start({"name": "gate"})
    gateway.schema()
    for value in range(5):
        gateway.sample([value, 1, 1], T0)
    face.feed(gateway, received_ms=T0)
    path = "/api/v1/sensors/1/readings"
    first = read(face, path, limit=3)
    second = read(face, path, limit=3, cursor=first["meta"]["next"])
    assert [row[1] for row in first["rows"] + second["rows"]] == [0, 1, 2, 3, 4]


def test_a_sensor_that_changed_its_channels_gives_one_table(face: Face, sensor: str) -> None:
    gateway = Gateway("unilag-01", stream="00000000000000b2")
    gateway.start({"name": "gate"}, at_ms=T0)
    gateway.schema(channels=[Channel("humidity", "%", -1), Channel("pm2_5", "ug/m3", -1)])
    gateway.sample([455, 123], T0 + 30 * MINUTE_MS)
    face.feed(gateway, received_ms=T0 + 31 * MINUTE_MS)
    found = read(face, sensor)
    assert found["fields"][1::2] == ["humidity", "pm2_5", "pm10", "temperature"]
    assert found["rows"][0][1:4] == [None, 9, 12]
    assert [found["rows"][-1][i] for i in (1, 3, 5, 6)] == [45.5, 12.3, None, 9]


def test_a_span_without_readings_is_an_empty_table(face: Face, sensor: str) -> None:
    found = read(face, sensor, **{"from": "2020-01-01T00:00:00Z", "to": "2020-01-02T00:00:00Z"})
    assert found["rows"] == []
    assert found["fields"][1] == "pm2_5"


def test_readings_that_have_not_changed_are_not_sent_again(face: Face, sensor: str) -> None:
    path = f"{sensor}?from={NOON}&to=2026-11-25T00:00:00Z"
    first = face.get(path)
    assert face.get(path, headers={"If-None-Match": first.headers["etag"]}).status_code == 304


@pytest.mark.parametrize(
    ("query", "name", "why"),
    [
        ({"from": NOON, "to": NOON}, "from", "is not before to"),
        ({"from": "2026-11-24T12:00:01Z", "to": NOON}, "from", "is not before to"),
        ({"from": "2027-11-24T12:00:01Z"}, "from", "is not before to"),
        ({"from": "2026-11-24T12:00:00"}, "from", "has no offset; write a time with an offset, like"),
        ({"from": "2026-11-24"}, "from", "has no offset"),
        ({"to": "yesterday"}, "to", "is no time"),
        ({"to": "1795521600"}, "to", "is no time"),
        ({"from": ""}, "from", "is no time"),
        ({"to": "2026-13-24T12:00:00Z"}, "to", "is no time"),
        ({"limit": "0"}, "limit", "greater than or equal to 1"),
        ({"limit": "10001"}, "limit", "less than or equal to 10000"),
        ({"limit": "ten"}, "limit", "integer"),
        ({"flags": "5"}, "flags", "one of 1, 2, 3, 4, 9"),
        ({"parameters": "pm2_5,pm3"}, "parameters", "has no pm3; it has pm2_5, pm10, temperature"),
        ({"parameters": ""}, "parameters", "it has pm2_5, pm10, temperature"),
        ({"cursor": "abc"}, "cursor", "not one of this list"),
    ],
)  # fmt: skip
def test_a_request_that_makes_no_sense_says_what_is_allowed(
    face: Face, sensor: str, query: dict[str, str], name: str, why: str
) -> None:
    said = problem(face.get(sensor, params=query), 422, "invalid-request")
    assert [(error["in"], error["name"]) for error in said["errors"]] == [("query", name)]
    assert why in said["errors"][0]["why"]


def test_an_unknown_parameter_lists_the_known(face: Face, sensor: str) -> None:
    assert problem(face.get(sensor, params={"parameters": "x"}), 422, "invalid-request")["known"] == [
        "pm2_5",
        "pm10",
        "temperature",
    ]


def test_a_cursor_of_another_sensor_is_foreign(face: Face, sensor: str) -> None:
    face.station("unilag-02", samples=3)
    cursor = read(face, sensor, limit=1)["meta"]["next"]
    problem(face.get("/api/v1/sensors/2/readings", params={"cursor": cursor}), 422, "invalid-request")


def test_an_unknown_sensor_or_one_that_is_no_number_is_a_problem(face: Face) -> None:
    problem(face.get("/api/v1/sensors/77/readings"), 404, "not-found")
    problem(face.get("/api/v1/sensors/abc/readings"), 422, "invalid-request")


def test_a_gateway_with_a_wild_clock_breaks_nothing(face: Face) -> None:
    face.enrol("unilag-01")
    gateway = Gateway("unilag-01")
    gateway.start({"name": "gate"})
    gateway.schema()
    for at in (now_ms() + 40_000 * DAY_MS, 1, now_ms()):
        gateway.sample([5, 5, 5], at)
    face.feed(gateway)
    assert face.get("/api/v1/stations").status_code == 200
    whole = face.get("/api/v1/sensors/1/readings?from=0001-01-01T00:00:00Z&to=9999-12-31T23:59:59Z")
    assert len(whole.json()["rows"]) == 3
    assert whole.json()["rows"][0][0] == "1970-01-01T00:00:00.001Z"
