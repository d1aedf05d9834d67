"""Server-sent events over a real connection: each stored sample once, from where a listener was."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest
from sqlalchemy import update

from hub.analytics.dashboard import Dashboard
from hub.analytics.live import MOST_WAITING
from hub.auth.callers import Credential
from hub.auth.tokens import Caller, NetworkRole, Role
from hub.database.tables import session
from hub.fleet.enrolment import invite
from tests.hub.face import DAY_MS, Face, now_ms, problem
from tests.hub.field import Gateway
from tests.servers import wait_until


class Stream:
    """What one listener hears, as (event, id, data)."""

    def __init__(self, answer: httpx2.Response) -> None:
        self.answer = answer
        self._lines = answer.iter_lines()

    def next(self) -> tuple[str, str | None, Any]:
        """The next event; comments and the retry hint are passed over."""
        fields: dict[str, str] = {}
        for line in self._lines:
            if line == "" and "event" in fields:
                return fields["event"], fields.get("id"), json.loads(fields["data"])
            name, _, value = line.partition(": ")
            if line and not line.startswith(":"):
                fields[name] = value
        raise EOFError

    def samples(self, count: int) -> list[tuple[str, Any]]:
        """(name, pm2_5) of the next samples."""
        found = [self.next() for _ in range(count)]
        assert {kind for kind, _, _ in found} == {"sample"}
        return [(data["name"], data["values"]["pm2_5"]) for _, _, data in found]


@contextmanager
def listen(face: Face, *, last: str | None = None, token: str | None = None, query: str = "") -> Iterator[Stream]:
    headers = ({"Last-Event-ID": last} if last is not None else {}) | ({"Authorization": f"Bearer {token}"} if token else {})
    with face.http.stream("GET", f"/api/v1/live{query}", headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        stream = Stream(answer)
        assert next(stream._lines) == "retry: 2000"
        yield stream


def more(face: Face, gateway: Gateway, *values: int) -> None:
    lo = len(gateway.rows) + 1
    for value in values:
        gateway.sample([value, 1, 1], now_ms())
    face.feed(gateway, lo)


def test_a_sample_is_heard_when_it_is_stored_as_telemetry_says_it(face: Face) -> None:
    gateway = face.station("unilag-01", samples=2)
    with listen(face) as stream:
        more(face, gateway, 77)
        kind, event_id, data = stream.next()
    assert (kind, event_id) == ("sample", "2.0")
    latest = face.get("/api/v1/sensors/1").json()["latest"]
    assert data == {"station": 1, "sensor": 1, "name": "unilag-01/pm", **latest}
    assert data["values"]["pm2_5"] == 77


def test_a_listener_that_returns_misses_nothing_and_hears_nothing_twice(face: Face) -> None:
    gateway = face.station("unilag-01", samples=1)
    more(face, gateway, 1, 2, 3)
    with listen(face, last="2.0") as stream:
        assert stream.samples(2) == [("unilag-01/pm", 2), ("unilag-01/pm", 3)]
        more(face, gateway, 4)
        assert stream.samples(1) == [("unilag-01/pm", 4)]
    more(face, gateway, 5)
    with listen(face, last="3.0") as stream:
        assert stream.samples(1) == [("unilag-01/pm", 5)]
    with listen(face, query="?last_event_id=3.0") as stream:
        assert stream.samples(1) == [("unilag-01/pm", 5)]


def test_what_the_dashboard_shows_and_what_follows_it_leave_no_gap(face: Face) -> None:
    gateway = face.station("unilag-01", samples=3)
    first = face.get("/api/v1/dashboard/realtime").json()
    more(face, gateway, 41, 42)
    with listen(face, last=first["last_event_id"]) as stream:
        assert stream.samples(2) == [("unilag-01/pm", 41), ("unilag-01/pm", 42)]


def test_strangers_share_one_answer_until_something_is_new_in_it(face: Face) -> None:
    gateway = face.station("unilag-01", samples=1)
    dashboard = Dashboard(face.database, face.app.state.categories, clock=lambda: 0.0)
    first = dashboard.body(None)
    assert dashboard.body(None) is first
    more(face, gateway, 99)
    second = dashboard.body(None)
    assert b'"pm2_5":99' in second
    sites_hidden = {"visibility": "private"}
    assert face.http.patch(
        "/api/v1/stations/1", json=sites_hidden, headers={"Authorization": f"Bearer {face.token()}"}
    ).is_success
    assert json.loads(dashboard.body(None))["stations"] == []
    assert json.loads(dashboard.body(Caller("test", Role.ADMIN)))["stations"] != []


def test_an_empty_hub_has_no_event_to_go_on_from(face: Face) -> None:
    assert face.get("/api/v1/dashboard/realtime").json()["last_event_id"] is None


@pytest.mark.parametrize("last", ["99.0", "x", "-1.0", "1", "1.0.0", "", "999999999999999999999.0"])
def test_an_id_that_was_never_given_out_is_a_reset_and_the_stream_goes_on(face: Face, last: str) -> None:
    gateway = face.station("unilag-01", samples=1)
    with listen(face, last=last) as stream:
        assert stream.next() == ("reset", None, {})
        more(face, gateway, 5)
        assert stream.samples(1) == [("unilag-01/pm", 5)]


def test_an_id_of_more_than_a_day_ago_is_a_reset(face: Face) -> None:
    face.enrol("unilag-01")
    gateway = Gateway("unilag-01")
    gateway.start({"name": "gate"})
    gateway.schema()
    gateway.samples(3)
    face.feed(gateway, received_ms=now_ms() - DAY_MS - 1000)
    with listen(face, last="1.0") as stream:
        assert stream.next()[0] == "reset"


def test_only_the_stations_asked_for_are_heard(face: Face) -> None:
    one, other = face.station("unilag-01", samples=1), face.station("unilag-02", samples=1)
    with listen(face, query="?stations=2") as stream:
        more(face, one, 1)
        more(face, other, 2)
        assert stream.samples(1) == [("unilag-02/pm", 2)]
    for wrong in ("x", "1,", "-1", "1;2"):
        problem(face.get("/api/v1/live", params={"stations": wrong}), 422, "invalid-request")


def test_a_private_station_is_heard_by_its_members_only(face: Face) -> None:
    invite(face.database, "hidden", visibility="private")
    hidden = Gateway("hidden")
    hidden.start({"name": "hidden"})
    hidden.schema()
    hidden.sample([1, 1, 1], now_ms())
    face.feed(hidden)
    seen = face.station("unilag-02", samples=1)
    with listen(face) as stranger, listen(face, token=face.token(Role.AUTHENTICATED, (1,))) as member:
        more(face, hidden, 7)
        more(face, seen, 8)
        assert stranger.samples(1) == [("unilag-02/pm", 8)]
        assert member.samples(2) == [("hidden/pm", 7), ("unilag-02/pm", 8)]


def test_a_listener_slower_than_the_network_hears_everything_in_the_end(face: Face) -> None:
    gateway = face.station("unilag-01", samples=1)
    count = MOST_WAITING + 20
    with listen(face) as stream:
        for value in range(count):
            more(face, gateway, value)
        assert [value for _, value in stream.samples(count)] == list(range(count))


def test_a_hub_that_ends_ends_its_streams(face: Face) -> None:
    face.station("unilag-01", samples=1)
    with listen(face) as stream:
        face.app.state.live.close()
        with pytest.raises(EOFError):
            stream.next()


def test_a_quiet_stream_still_gives_a_sign_of_life(face: Face) -> None:
    live = face.app.state.live
    heard: list[bytes] = []

    async def hear() -> None:
        events = live.events(None, None, None, heartbeat_s=0.01)
        async for text in events:
            heard.append(text)
            if len(heard) == 3:
                await events.aclose()

    thread = threading.Thread(target=lambda: asyncio.run(hear()))
    thread.start()
    thread.join(5)
    assert heard == [b"retry: 2000\n\n", b": still here\n\n", b": still here\n\n"]


def test_a_stream_ends_with_the_session_it_was_opened_in(face: Face) -> None:
    """The listener comes again with a new token and goes on behind the last event; one who may no more hears nothing."""
    token = face.person("ada@unilag.example", networks={1: NetworkRole.VIEWER})
    given, callers = Credential("token", token), face.app.state.callers
    heard: list[bytes] = []

    def renew() -> Caller:
        found: Caller = callers.of(given).caller
        return found

    async def hear() -> None:
        async for text in face.app.state.live.events(renew(), None, None, heartbeat_s=0.01, renew=renew, renewed_s=0):
            heard.append(text)
            if len(heard) == 3:
                with face.database.write() as connection:
                    connection.execute(update(session).values(ended_ms=now_ms()))
                callers.forget()

    thread = threading.Thread(target=lambda: asyncio.run(hear()))
    thread.start()
    thread.join(5)
    assert not thread.is_alive()
    assert len(heard) == 3


def test_listeners_who_leave_are_forgotten(face: Face) -> None:
    gateway = face.station("unilag-01", samples=1)
    with listen(face):
        pass
    with listen(face) as stream:
        more(face, gateway, 5)
        assert stream.samples(1)
        wait_until(lambda: len(face.app.state.live._listeners) == 1, "the first listener gone")
