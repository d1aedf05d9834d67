"""The daemon with a card that fails it, before a real broker: what was committed reaches the hub, or is named as lost."""

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from edge.config import Config, Credential, Hub, Store, load_credential
from edge.control import ask
from readings.messages import Answer, Hello, Window, hello_topic, read_hello
from readings.ranges import Ranges
from readings.row import Row
from tests.edge.test_daemon import (
    Hub1,
    Plug,
    config,
    counted,
    enrol,
    fill,
    on_card,
    pairs,
    plantower,
    running,
    sensor,
    small_disk,
)
from tests.servers import Mosquitto, wait_until

__all__ = ["plantower", "small_disk"]

pytestmark = pytest.mark.server


class Hub2(Hub1):
    """Also has backups (`safe`), and hears goodbyes."""

    def __init__(self, url: str, gateway: str) -> None:
        self.safe: dict[str, Ranges] = {}
        self.hellos: list[Hello] = []
        self.byes = 0
        super().__init__(url, gateway)

    def _heard(self, topic: str, payload: bytes, ack) -> None:  # type: ignore[no-untyped-def]
        if topic != hello_topic(self.gateway):
            super()._heard(topic, payload, ack)
            return
        ack()
        hello = read_hello(payload)
        if not isinstance(hello, Hello):
            self.byes += 1
            return
        self.hellos.append(hello)
        held = {stream: self.held.setdefault(stream, Ranges()) for stream, _, _ in hello.streams}
        safe = {stream: pairs(self.safe[stream]) for stream in held if stream in self.safe}
        now_ms = time.time_ns() // 10**6
        self._say(Answer(hello.nonce, "i", now_ms, {s: pairs(r) for s, r in held.items()}, {}, safe, Window(2, 32768), 0))

    def stream_rows(self, stream: str) -> dict[int, Row]:
        return {seq: row for (name, seq), row in self.rows.items() if name == stream}


@pytest.fixture
def hub(mosquitto: Mosquitto) -> Iterator[Hub2]:
    it = Hub2(mosquitto.url, "gate-01")
    yield it
    it.client.stop()


@pytest.fixture
def gateway(tmp_path: Path, plantower: Plug, mosquitto: Mosquitto) -> tuple[Config, Credential]:
    plantower("tty")
    enrol(tmp_path, "gate-01")
    settings = config(
        tmp_path, sensor("pm", "plantower.pms5003", f"serial:{tmp_path}/tty"), hub=Hub((mosquitto.url,), tmp_path / "credential")
    )
    credential = load_credential(tmp_path / "credential", "gate-01")
    assert credential is not None
    return settings, credential


def test_a_clean_stop_says_bye_and_a_hub_can_tell_it_from_a_cut(gateway: tuple[Config, Credential], hub: Hub2) -> None:
    with running(*gateway) as daemon:
        wait_until(lambda: len(hub.rows) > 5, "rows at the hub", 15)
        assert daemon.status()["uplink"]["state"] == "online"
        assert hub.byes == 0
    wait_until(lambda: hub.byes == 1, "the bye", 5)


def test_the_hubs_answer_anchors_a_boot_whose_clock_was_never_set(
    gateway: tuple[Config, Credential], hub: Hub2, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.health.Clock._disciplined", lambda self: False)
    with running(*gateway):
        wait_until(lambda: any(row.kind == "anchor" for row in hub.rows.values()), "the anchor at the hub", 15)
    anchors = [row for row in hub.rows.values() if row.kind == "anchor"]
    assert len(anchors) == 1
    (anchor,) = anchors
    assert anchor.values["source"] == "hub"
    assert abs(anchor.values["wall_ms"] - anchor.wall_ms) < 1000, "hub and gateway are one machine here"
    assert 0 < anchor.values["error_ms"] < 5000
    assert anchor.mono_ns is not None


def test_a_kernel_that_says_synced_gives_one_anchor_per_boot(
    gateway: tuple[Config, Credential], hub: Hub2, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("edge.health.Clock._disciplined", lambda self: True)
    for _ in range(2):
        with running(*gateway):
            wait_until(lambda: len(hub.rows) > 5, "rows at the hub", 15)
    anchors = [(seq, row) for _, seq, row in on_card(tmp_path) if row.kind == "anchor"]
    assert [(seq, row.values["source"], row.clock) for seq, row in anchors] == [(3, "ntp", "synced")]


def test_a_header_zeroed_under_the_daemon_costs_no_row(gateway: tuple[Config, Credential], hub: Hub2, tmp_path: Path) -> None:
    settings, credential = gateway
    with running(settings, credential) as daemon:
        wait_until(lambda: daemon.status()["outbox"]["rows"] > 15, "rows", 15)
        before = on_card(tmp_path)
        with settings.store.path.open("r+b") as file:
            file.write(bytes(100))
        begun_s = time.monotonic()
        card = hub.hellos[-1].card
        wait_until(lambda: hub.hellos[-1].card != card, "a hello with the new card", 10)
        wait_until(lambda: daemon.sensor("pm")["age_s"] < 1, "sampling to go on", 10)
        assert time.monotonic() - begun_s < 10
        assert "card_damaged" in next(iter(ask(settings.control, {"ask": "status"})))["alarms"]
        wait_until(lambda: not list(tmp_path.glob("outbox.db.damaged-*")), "the salvage", 20)
        wait_until(lambda: daemon.status()["outbox"]["pending"] < 10, "few to be pending", 20)
    after = {(stream, seq): row for stream, seq, row in on_card(tmp_path)}
    assert all(after[stream, seq] == row for stream, seq, row in before)
    assert all(hub.rows[stream, seq] == row for stream, seq, row in before)
    events = [row.values["event"] for row in after.values() if row.kind == "event" and row.sensor is None]
    assert {"card_damaged", "salvaged"} <= set(events)
    assert "storage_lied" not in events


def test_on_a_full_card_rows_that_backups_have_make_room(gateway: tuple[Config, Credential], hub: Hub2, tmp_path: Path) -> None:
    settings, credential = gateway
    tiny = replace(settings, store=Store(tmp_path / "outbox.db", quota_bytes=18 << 10))
    with running(tiny, credential) as daemon:
        wait_until(lambda: len(hub.rows) > 15, "rows at the hub", 15)
        (stream,) = hub.held
        hub.safe = {stream: Ranges.span(1, 1 << 30)}
        assert daemon.daemon._uplink is not None
        daemon.daemon._uplink.ledger._hello_s = float("-inf")  # an hour passes
        wait_until(lambda: daemon.daemon._outbox.book().absent != {}, "rows to leave", 30)
        wait_until(lambda: daemon.status()["disk"] == "ok", "commits", 10)
        assert daemon.status()["outbox"]["tombstoned"] == 0
    rows = {seq: row for _, seq, row in on_card(tmp_path)}
    assert rows[1].kind == "event"
    assert rows[2].kind == "schema"
    assert 3 not in rows or 4 not in rows
    assert not [row for row in rows.values() if row.kind == "tombstone"]


def test_an_older_copy_of_the_card_says_that_the_storage_lied_and_nothing_is_taken_for_a_repeat(
    gateway: tuple[Config, Credential], hub: Hub2, tmp_path: Path
) -> None:
    settings, credential = gateway
    with running(settings, credential) as daemon:
        wait_until(lambda: len(hub.rows) > 15, "rows at the hub", 15)
        wait_until(lambda: daemon.status()["outbox"]["pending"] < 5, "few to be pending", 15)
    ((first, held),) = hub.held.items()
    end = held.high or 0
    with sqlite3.connect(settings.store.path) as db:  # as it was some seconds ago
        db.execute("DELETE FROM row WHERE seq > ?", (end - 5,))
    db.close()
    with running(settings, credential) as daemon:
        wait_until(lambda: len(hub.held) == 2, "a second stream", 15)
        wait_until(lambda: daemon.status()["outbox"]["pending"] < 5, "few to be pending", 15)
        assert "storage_lied" in daemon.daemon._uplink.state().alarms  # type: ignore[union-attr]
    second = list(hub.held)[1]
    assert hub.rows[second, 1].values["previous"] == [first, end - 5]
    said = [row.values for _, _, row in on_card(tmp_path) if row.kind == "event" and row.values["event"] == "storage_lied"]
    assert said == [{"event": "storage_lied", "stream": first, "end": end - 5, "told": end}]
    assert all(row == hub.rows[stream, seq] for stream, seq, row in on_card(tmp_path) if (stream, seq) in hub.rows)


def test_status_counts_what_i6_needs(gateway: tuple[Config, Credential], hub: Hub2) -> None:
    with running(*gateway) as daemon:
        wait_until(lambda: len(hub.rows) > 5, "rows at the hub", 15)
        outbox = daemon.status()["outbox"]
    assert list(outbox) == ["rows", "bytes", "pending", "produced", "tombstoned", "damaged", "dropped"]
    assert outbox["produced"] == outbox["rows"] > 0
    assert msgspec.json.encode(outbox)


@pytest.mark.parametrize(("when_full", "goes_on"), [("drop_oldest", True), ("stop", False)])
def test_a_full_disk_costs_the_oldest_rows_or_stops_as_configured(
    tmp_path: Path, plantower: Plug, small_disk: Path, monkeypatch: pytest.MonkeyPatch, when_full: Any, goes_on: bool
) -> None:
    """Without a hub's answer rows leave after 10 minutes; here after none."""
    monkeypatch.setattr("edge.eviction.LONELY_S", 0.0)
    device = plantower("tty")
    settings = config(tmp_path, sensor("pm", "plantower.pms5003", f"serial:{tmp_path}/tty", 0.05))
    settings = replace(settings, store=Store(small_disk / "outbox.db", 2 << 30, when_full))
    with running(settings) as daemon:
        wait_until(lambda: daemon.status()["outbox"]["rows"] > 60, "rows", 20)
        fill(small_disk)
        if not goes_on:
            wait_until(lambda: daemon.status()["disk"] == "refused", "the refusal", 20)
            (small_disk / "hog").unlink()
        else:
            wait_until(lambda: daemon.status()["outbox"]["tombstoned"] > 0, "rows to leave", 30)
            wait_until(lambda: daemon.status()["disk"] != "refused", "commits", 10)
        outbox = daemon.status()["outbox"]
        assert outbox["dropped"] == 0
        assert (outbox["tombstoned"] > 0) == goes_on
    rows = on_card(small_disk)
    named = {
        (row.values["stream"], seq)
        for _, _, row in rows
        if row.kind == "tombstone"
        for seq in Ranges(row.values["ranges"]).numbers()
    }
    assert len({stream for stream, _, _ in rows}) == 1
    assert {seq for _, seq, _ in rows} | {seq for _, seq in named} == set(range(1, max(seq for _, seq, _ in rows) + 1))
    assert counted(small_disk, "pm")[-1] == device.served[-1]
