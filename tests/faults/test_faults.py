"""Faults of link, broker and card, one by one, over a real broker and hub: each row arrives once, whatever happened to it."""

import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

import pytest

from edge.outbox import Outbox, Refused
from readings.row import crc
from readings.sample import Sample
from tests.e2e.network import EDGE, Network, Program
from tests.faults.crowd import Crowd, Station
from tests.faults.field import devices
from tests.faults.proxy import NONE, Fault, Proxy
from tests.faults.returns import enrol
from tests.faults.writer import CHANNELS, PM, moment
from tests.proofs.model.world import World
from tests.servers import wait_until

pytestmark = [pytest.mark.server, pytest.mark.proof]
NAMES = [f"gw-{i:02d}" for i in range(24)]


class Link:
    """Stations behind a proxy, to one broker and hub that all tests share."""

    def __init__(self, net: Network, folder: Path) -> None:
        self.net, self.folder = net, folder
        self.keys = {key.gateway: key for key in enrol(net, NAMES)}
        self._free = list(NAMES)

    @contextmanager
    def station(self, *, rows: int = 50) -> Iterator[tuple[Station, Crowd, Proxy]]:
        """A station with some rows, online through a proxy."""
        with Proxy(self.net.mqtt_port) as proxy:
            name = self._free.pop()
            station = Station(self.folder / name, self.keys[name], f"mqtt://127.0.0.1:{proxy.port}", keepalive_s=2)
            station.make(rows, every_s=60)
            crowd = Crowd([station])
            crowd.start()
            try:
                crowd.run(lambda: station.pending == 0, 30)
                yield station, crowd, proxy
            finally:
                crowd.stop()

    def settled(self, station: Station, crowd: Crowd, timeout_s: float = 60) -> None:
        """Every row is in the front, once, with its content."""
        crowd.run(lambda: station.pending == 0, timeout_s)
        rows = {
            (stream, seq): crc(raw)
            for stream, lo, hi in station.outbox.streams()
            for seq, raw, _ in station.outbox.raw_rows(stream, lo, hi)
        }
        front = self.net.front(station.key.gateway)
        assert len(front) == len(rows), "a row is stored twice, or is missing"
        assert dict(front) == rows


@pytest.fixture(scope="module")
def link(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Link]:
    with Network(tmp_path_factory.mktemp("net")) as net:
        yield Link(net, tmp_path_factory.mktemp("cards"))


def for_a_while(crowd: Crowd, station: Station, seconds: float, each: Callable[[], None] = lambda: None) -> None:
    """Rows come while the fault lasts."""
    until = time.monotonic() + seconds

    def over() -> bool:
        station.fresh()
        each()
        return time.monotonic() > until

    crowd.run(over, seconds + 30)


def test_fault_09_too_few_descriptors_are_a_state_and_no_crash_loop(link: Link, tmp_path: Path) -> None:
    sensors = devices(tmp_path)
    gateway = link.net.add(
        "few-01", sensors, start=False, hub={"mqtt": [link.net.env["MQTT_URL"]], "credential": str(tmp_path / "no")}
    )
    limited = Program(["prlimit", "--nofile=24", EDGE, "run", str(gateway.config)], tmp_path / "edge.log")
    limited.start()
    wait_until(lambda: gateway.store.exists() or not limited.running, "the outbox", 30)
    time.sleep(4)
    assert limited.running, limited.log.read_text()
    assert limited.stop() == 0


def test_fault_11_a_card_that_lied_about_a_flush_is_named() -> None:
    world = World(5)
    card = world.gateway.card
    card.lies = True
    for _ in range(12):
        world.gateway.produce(3)
        world.flush()
        world.link()
        world.exchange()
    lost: set[tuple[str, int]] = set()
    while not lost:
        lost = card.power_cut()
    world.excuse(lost)
    world.unlink()
    world.gateway.boot()
    world.flush()
    world.link()
    world.exchange()
    assert "storage_lied" in {alarm.name for alarm in world.gateway.ledger.alarms}
    world.heal()
    world.judge()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_fault_17_without_inodes_samples_wait_and_become_rows_when_there_are_some(tmp_path: Path) -> None:
    card = tmp_path / "card"
    card.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,nr_inodes=3", "tmpfs", str(card)], check=True)
    try:
        box = Outbox.open(card / "outbox.db", quota_bytes=1 << 20)
        box.begin("0.1.0", {"name": "gate"}, moment(0), [PM])
        box.put(Sample("pm", moment(1), (1,) * CHANNELS, (1,) * CHANNELS))
        with pytest.raises(Refused):
            box.commit()
        subprocess.run(["mount", "-o", "remount,nr_inodes=100", str(card)], check=True)
        done = box.commit()
        assert done is not None
        assert done.hi == 3
        box.close()
    finally:
        subprocess.run(["umount", str(card)], check=True)


def test_fault_24_a_half_open_link_is_noticed_within_the_keepalive_and_costs_nothing(link: Link) -> None:
    with link.station() as (station, crowd, proxy):
        proxy.fault = Fault(hold=True)
        station.fresh()
        took_s = crowd.run(lambda: station.uplink.state().state != "online", 30)
        assert took_s < 5 * 1.5 * 2
        proxy.reset()
        proxy.fault = NONE
        link.settled(station, crowd)


def test_fault_25_a_reset_each_second_loses_nothing(link: Link) -> None:
    chance = Random(25)
    with link.station() as (station, crowd, proxy):
        for_a_while(crowd, station, 8, lambda: proxy.reset() if chance.random() < 0.6 else None)
        link.settled(station, crowd)


def test_fault_26_a_slow_late_link_that_breaks_brings_the_live_row_first(link: Link) -> None:
    with link.station() as (station, crowd, proxy):
        proxy.fault = Fault(hold=True)
        station.make(3000, every_s=60, a_commit=100)
        proxy.reset()
        proxy.fault = Fault(rate=8000, delay_s=0.05)
        stream, seq = station.fresh()
        crowd.run(lambda: (stream, seq) in dict(link.net.front(station.key.gateway)), 30)
        proxy.reset()
        link.settled(station, crowd)


def test_fault_27_single_bytes_work(link: Link) -> None:
    with link.station() as (station, crowd, proxy):
        proxy.fault = Fault(single=True)
        for_a_while(crowd, station, 2)
        link.settled(station, crowd)


def test_fault_28_flipped_bits_are_never_stored(link: Link) -> None:
    with link.station() as (station, crowd, proxy):
        proxy.fault = Fault(flips=0.4)
        for_a_while(crowd, station, 6)
        proxy.fault = NONE
        proxy.reset()  # what was subscribed to may have been another topic
        link.settled(station, crowd)


def test_fault_29_a_captive_portal_is_a_reason_and_no_end(tmp_path: Path, link: Link) -> None:
    with socket.create_server(("127.0.0.1", 0)) as portal:

        def redirect() -> None:
            with suppress(OSError):
                while True:
                    guest, _ = portal.accept()
                    guest.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://portal.example/\r\n\r\n")
                    guest.close()

        threading.Thread(target=redirect, daemon=True).start()
        station = Station(tmp_path, link.keys[link._free.pop()], f"mqtt://127.0.0.1:{portal.getsockname()[1]}")
        crowd = Crowd([station])
        crowd.start()
        crowd.run(lambda: station.uplink.state().state == "offline", 30)
        assert station.uplink.state().why
        assert station.uplink.state().next_try_s is not None
        crowd.stop()


def test_fault_31_a_connection_cut_after_any_number_of_bytes_stores_each_row_once(link: Link) -> None:
    chance = Random(31)
    with link.station() as (station, crowd, proxy):

        def cut() -> None:
            proxy.fault = Fault(cut_after=chance.randrange(1, 2500))

        for_a_while(crowd, station, 8, cut)
        proxy.fault = NONE
        proxy.reset()
        link.settled(station, crowd)
