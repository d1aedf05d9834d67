"""What is private, coarse or under embargo: on every route that gives anything away, and at the broker."""

from collections.abc import Iterator
from math import cos, radians
from typing import Any

import pytest
from sqlalchemy import insert, update

from hub.analytics.live import Listener, Live
from hub.auth.tokens import Caller, NetworkRole, Role
from hub.database import tables
from hub.fleet.coarse import coarse
from hub.fleet.completeness import Counted, counted, share
from hub.fleet.visibility import hidden_gateways
from hub.followers.reader import Reader
from hub.followers.telemetry import Telemetry
from hub.front.decoded import Decoded
from hub.front.heard import note_bye, note_hellos
from tests.hub.face import DAY_MS, HOUR_MS, MINUTE_MS, Face, now_ms
from tests.hub.field import Gateway

API = "/api/v1"
SECRET = "unilag-01"


class Board:
    """An outlet that keeps what a broker would: the retained messages, and the topics that anybody heard of."""

    connections = 1

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.heard: list[str] = []

    def publish(self, topic: str, payload: bytes) -> None:
        self.heard.append(topic)
        self.kept.pop(topic, None)
        if payload:
            self.kept[topic] = payload


def set_up(face: Face, *, visibility: str = "public", embargo_s: int = 0, licence: str | None = None) -> Gateway:
    """A gateway with a sample a minute of the last two hours, the last one now."""
    gateway = face.station(SECRET, samples=0)
    lo, begun = len(gateway.rows) + 1, now_ms() - 2 * HOUR_MS
    with face.database.write() as connection:
        connection.execute(update(tables.deployment).values(from_ms=begun - 1))
        connection.execute(update(tables.station).values(visibility=visibility))
        connection.execute(update(tables.network).values(embargo_s=embargo_s, licence=licence, attribution=licence and "UNILAG"))
    for minute in range(121):
        gateway.sample([minute, 1, 1], begun + minute * MINUTE_MS)
    face.feed(gateway, lo)
    return gateway


def get_routes(face: Face) -> Iterator[str]:
    for path, verbs in face.app.openapi_schema["paths"].items() if face.app.openapi_schema else ():
        if "get" in verbs and not path.endswith("/live"):
            yield path


def test_anonymous_hears_nothing_of_a_private_station_on_any_route(face: Face) -> None:
    set_up(face, visibility="private")
    assert face.get("/openapi.json").status_code == 200
    told, walked = [], 0
    for path in get_routes(face):
        address = path
        for name, value in {
            "station": 1,
            "sensor": 1,
            "network": 1,
            "name": SECRET,
            "account": 1,
            "user": 1,
            "path": "x",
        }.items():
            address = address.replace(f"{{{name}}}", str(value))
        answer = face.get(address)
        walked += 1
        if SECRET in answer.text or "6.51" in answer.text:
            told.append((address, answer.text[:200]))
    assert told == []
    assert walked > 20
    assert face.get(f"{API}/networks").json()["results"] == []
    assert SECRET in face.get(f"{API}/stations", face.token(Role.AUTHENTICATED, (1,))).text


def test_an_embargo_hides_what_is_younger_from_strangers_and_nothing_from_members(face: Face) -> None:
    set_up(face, embargo_s=3600, licence="CC-BY-4.0")
    member = face.token(Role.AUTHENTICATED, (1,))
    for path in (f"{API}/stations/1", f"{API}/dashboard/realtime"):
        said: Any = face.get(path).json()
        station = said["stations"][0] if "stations" in said else said
        assert (station["last_seen"], station["index"], station["sensors"][0]["latest"]) == (None, None, None), path
        assert (station["licence"], station["attribution"]) == ("CC-BY-4.0", "UNILAG")
    sensor = face.get(f"{API}/sensors/1").json()
    assert (sensor["latest"], sensor["last_seen"], sensor["state"]) == (None, None, None)
    assert face.get(f"{API}/sensors/1", member).json()["latest"]["values"]["pm2_5"] == 120
    page = face.get(f"{API}/sensors/1/readings?parameters=pm2_5").json()
    assert [row[1] for row in page["rows"]][-1] in (59, 60, 61)
    assert page["meta"]["embargoed_after"] == page["meta"]["to"]
    assert page["meta"]["licence"] == "CC-BY-4.0"
    everything = face.get(f"{API}/sensors/1/readings?parameters=pm2_5", member).json()
    assert (len(everything["rows"]), everything["meta"]["embargoed_after"]) == (121, None)


def test_readings_belong_to_the_station_where_the_sensor_stood_at_their_time(face: Face) -> None:
    gateway = set_up(face)
    at = now_ms() - HOUR_MS
    with face.database.write() as connection:
        connection.execute(insert(tables.station).values(network=1, name="lab", visibility="private"))
        connection.execute(update(tables.deployment).values(to_ms=at))
        connection.execute(insert(tables.deployment).values(sensor=1, station=2, from_ms=at))
    rows = face.get(f"{API}/sensors/1/readings?parameters=pm2_5").json()["rows"]
    assert len(rows) in (60, 61)
    sensor = face.get(f"{API}/sensors/1").json()
    assert (sensor["station"], sensor["latest"]) == (None, None)
    assert face.get(f"{API}/stations/1").json()["sensors"] == []
    member = face.token(Role.AUTHENTICATED, (1,))
    assert len(face.get(f"{API}/sensors/1/readings", member).json()["rows"]) == 121
    assert face.get(f"{API}/stations/2", member).json()["sensors"][0]["latest"]["values"]["pm2_5"] == 120
    open_only = face.get(f"{API}/sensors/1/deployments").json()["results"]
    assert [one["station"] for one in open_only] == [1]
    assert gateway.name == SECRET


def test_live_events_follow_the_place_of_their_time_and_its_embargo(face: Face) -> None:
    gateway = set_up(face, embargo_s=60)
    live = Live(face.database)
    _, events = live._read(0)
    listener = Caller("m", Role.AUTHENTICATED, {1: NetworkRole.VIEWER})
    assert len(events) == 121
    assert sum(Listener(None, None).wants(event) for event in events) == 0
    assert sum(Listener(listener, None).wants(event) for event in events) == 121
    assert gateway.name == SECRET


@pytest.mark.parametrize("how", ["private", "embargo"])
def test_what_turns_hidden_is_taken_back_from_the_broker_and_nothing_unknown_is_named(face: Face, how: str) -> None:
    set_up(face)
    board, seconds = Board(), [0.0]
    follower = Telemetry(face.database, Reader(face.database, Decoded()), board, lambda: seconds[0])
    while follower.step():
        pass
    topic = f"telemetry/{SECRET}/pm"
    assert topic in board.kept
    token = face.person("root@example.org", role=Role.ADMIN)
    path, body = ("/stations/1", {"visibility": "private"}) if how == "private" else ("/networks/1", {"embargo_s": 60})
    headers = {"Authorization": f"Bearer {token}"}
    assert face.http.patch(API + path, json=body, headers=headers).status_code == 200
    seconds[0] += 3
    while follower.step():
        pass
    assert board.kept == {}
    with face.database.read() as connection:
        assert hidden_gateways(connection) == {SECRET}
    fresh = Board()  # another process after a restart, a broker that knows nothing
    again = Telemetry(face.database, Reader(face.database, Decoded()), fresh)
    while again.step():
        pass
    assert fresh.heard == []
    body = {"visibility": "public"} if how == "private" else {"embargo_s": 0}
    assert face.http.patch(API + path, json=body, headers=headers).status_code == 200
    seconds[0] += 3
    while follower.step():
        pass
    assert set(board.kept) == {topic}


def test_a_cell_is_a_kilometre_high_and_wide_at_every_latitude_and_always_the_same() -> None:
    for latitude in (0.0, 6.5158, -33.9, 59.33, 78.2, 89.0):
        places = {coarse(latitude, 10 + n / 300) for n in range(3000)}
        width_km = 10 * 111.32 * cos(radians(latitude)) / len(places)
        assert 0.9 < width_km < 1.3, latitude
        assert all(coarse(*place) == place for place in places)
    assert coarse(0.001, 179.9999) == coarse(0.001, -179.9999)


def test_completeness_is_the_share_of_what_a_sensors_pace_promised() -> None:
    day = DAY_MS
    newest = [day - n * MINUTE_MS for n in range(20)]
    assert counted(0, 720, newest, day) == Counted(1440.0, 720)
    assert counted(day - HOUR_MS, 60, newest, day) == Counted(60.0, 60)
    assert counted(0, 2, [0, MINUTE_MS], day) is None
    assert counted(None, 0, [], day) is None
    assert share([Counted(1440.0, 720), Counted(1440.0, 1500)]) == 0.75
    assert share([]) is None


def test_the_fleet_view_says_how_a_gateway_is_doing(face: Face) -> None:
    gateway = set_up(face)
    gateway.samples(10, from_ms=now_ms())
    face.front.answer(gateway.name, gateway.hello())
    note_hellos(face.database, [(gateway.name, gateway.hello(), now_ms())])
    operator = face.person("op@example.org", networks={1: NetworkRole.OPERATOR})
    (found,) = face.get(f"{API}/gateways", operator).json()["results"]
    assert (found["pending"], found["gaps"], found["lost"], found["online"]) == (10, 0, 0, True)
    assert (found["version"], found["clock"]) == ("0.1.0", "synced")
    assert found["completeness"]["hours"] == 24
    assert 0.98 <= found["completeness"]["share"] <= 1.0
    assert face.get(f"{API}/gateways/{SECRET}", operator).json() == found
    note_bye(face.database, gateway.name, now_ms() + 1000)
    assert face.get(f"{API}/gateways/{SECRET}", operator).json()["online"] is False
