"""Whether a gateway is there: told by its words, its will, its silence, and after a restart of the hub by what is stored."""

import json

from hub.database.engine import Database
from hub.followers.runner import Followers
from hub.front.log import Front
from hub.front.presence import FIRST_SILENT_MS, SILENT_MS, Presence, stored
from hub.settings import Settings
from tests.hub.field import START_MS, Gateway, enrol, store

HOUR_MS = 3_600_000


def online(messages: list[tuple[str, bytes]]) -> dict[str, bool]:
    return {name: json.loads(payload)["online"] for name, payload in messages}


def test_a_gateway_that_misses_its_hourly_hello_is_offline() -> None:
    presence = Presence()
    presence.hello("demo-01", 3, START_MS)
    presence.hello("demo-02", 0, START_MS + HOUR_MS)
    assert presence.silent(START_MS + HOUR_MS) == []
    assert online(presence.silent(START_MS + SILENT_MS)) == {"demo-01": False}
    assert presence.silent(START_MS + SILENT_MS + 1) == [], "it is told once"
    assert json.loads(presence.data("demo-01", 1, START_MS + 2 * HOUR_MS) or b"{}")["online"] is True


def test_a_hub_that_starts_tells_what_is_stored_and_soon_who_is_silent(one_database: Database) -> None:
    enrol(one_database, "demo-01", "demo-02")
    front = Front(one_database)
    old, new = Gateway(), Gateway("demo-02", "00000000000000b1")
    for one, received_ms in ((old, START_MS), (new, START_MS + HOUR_MS)):
        one.start()
        one.schema()
        one.samples(3)
        store(front, one.came(received_ms=received_ms))
    Followers(one_database, Settings(), Nowhere()).catch_up()
    presence = Presence()
    with one_database.read() as connection:
        presence.remember(stored(connection), START_MS + HOUR_MS + 1000)
    assert online(list(presence.all())) == {"demo-01": False, "demo-02": True}
    assert json.loads(dict(presence.all())["demo-01"])["seen"] == "2025-11-24T16:00:00.000Z"
    assert online(presence.silent(START_MS + HOUR_MS + FIRST_SILENT_MS)) == {"demo-02": False}, "its will may have been missed"


class Nowhere:
    connections = 0

    def publish(self, topic: str, payload: bytes) -> None:
        raise AssertionError("nobody is connected")
