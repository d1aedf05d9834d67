"""What a field network lives with: kills, a broker and a hub away, a locked database, a full card. Nothing is lost or doubled."""

import json
import os
import random
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.network import Network, patiently, settled
from tests.servers import free_port, wait_until
from tests.shape import embedded_only

pytestmark = [pytest.mark.server, pytest.mark.proof]


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Network]:
    with Network(tmp_path) as network:
        yield network


def devices(folder: Path) -> list[dict[str, Any]]:
    """One sensor of each transport, asked often."""
    return [
        {"id": "pm", "profile": "plantower.pms5003", "at": f"serial:{folder / 'pm.tty'}", "every": "1s"},
        {"id": "meter", "profile": "eastron.sdm230", "at": f"modbus-tcp://127.0.0.1:{free_port()}?unit=1", "every": "1s"},
        {"id": "box", "profile": "airgradient.local", "at": f"http://127.0.0.1:{free_port()}/measures/current", "every": "1s"},
    ]


def served(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]


def test_kills_of_daemon_hub_and_broker_lose_and_repeat_nothing(net: Network, tmp_path: Path) -> None:
    sensors = devices(tmp_path)
    log = net.simulate(sensors)
    gateway = net.add("lagos-01", sensors)
    wait_until(lambda: len(net.front("lagos-01")) > 10, "first rows in the front")
    chance = random.Random(7)
    for victim in chance.sample(["daemon", "hub", "broker"] * 3, 9):
        patiently(chance.uniform(0.2, 1.5))
        if victim == "daemon":
            gateway.program.kill()
            gateway.program.start()
        elif victim == "hub":
            net.hub.kill()
            net.start_hub()
        else:
            net.broker.kill()
            net.broker.start()
    wait_until(lambda: gateway.status().get("uplink", {}).get("state") == "online", "online again", 60)
    patiently(2)
    settled(net, gateway)
    assert gateway.program.stop() == 0
    assert_values_are_those_served(net, log)
    assert_rebuild_gives_the_same_rows(net)


def assert_values_are_those_served(net: Network, log: Path) -> None:
    """Each stored PM2.5 of the serial sensor is one that the simulator says it sent."""
    said = {entry["values"]["pm2_5"] for entry in served(log) if entry["sensor"] == "pm"}
    with net.database() as db:
        stored = {
            value
            for (value,) in db.execute(
                "SELECT r.value FROM reading r JOIN sensor s ON s.id = r.sensor WHERE s.local_id = 'pm' AND r.parameter = 'pm2_5'"
            )
        }
    assert stored
    assert stored <= said


def assert_rebuild_gives_the_same_rows(net: Network) -> None:
    before = net.samples()
    assert before
    net.ask_hub("rebuild", "samples")
    wait_until(lambda: net.samples() == before, "the same rows after the rebuild")


def test_without_broker_and_hub_the_daemon_goes_on_and_catches_up_alone(net: Network, tmp_path: Path) -> None:
    sensors = devices(tmp_path)
    net.simulate(sensors)
    gateway = net.add("lagos-02", sensors)
    wait_until(lambda: len(net.front("lagos-02")) > 5, "first rows in the front")
    net.broker.kill()
    net.hub.kill()
    wait_until(lambda: gateway.status().get("uplink", {}).get("state") == "offline", "status says offline")
    uplink = gateway.status()["uplink"]
    assert uplink["why"]
    rows = gateway.status()["outbox"]["rows"]
    wait_until(lambda: gateway.status()["outbox"]["rows"] > rows + 5, "the daemon keeps sampling")
    net.broker.start()
    net.start_hub()
    wait_until(lambda: gateway.status()["uplink"]["state"] == "online", "online again", 75)
    settled(net, gateway)
    assert gateway.program.stop() == 0


@embedded_only("a lock of the whole SQLite file")
def test_a_locked_database_delays_and_loses_nothing(net: Network, tmp_path: Path) -> None:
    sensors = devices(tmp_path)
    net.simulate(sensors)
    gateway = net.add("lagos-03", sensors)
    wait_until(lambda: len(net.front("lagos-03")) > 5, "first rows in the front")
    held = len(net.front("lagos-03"))
    lock = sqlite3.connect(tmp_path / "hub" / "hub.db", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    patiently(8)
    assert len(net.front("lagos-03")) <= held + 20
    assert net.hub.running
    assert gateway.status()["outbox"]["pending"] > 0
    lock.execute("ROLLBACK")
    lock.close()
    wait_until(lambda: len(net.front("lagos-03")) > held + 20, "the front takes rows again", 60)
    settled(net, gateway)


def fill(ballast: Path) -> None:
    """Writes until the disk takes no more."""
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_on_a_full_card_the_daemon_samples_says_so_and_recovers_alone(net: Network, tmp_path: Path) -> None:
    card = tmp_path / "card"
    card.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(card)], check=True)
    try:
        sensors = devices(tmp_path)
        net.simulate(sensors)
        gateway = net.add("lagos-04", sensors, store={"path": str(card / "outbox.db"), "when_full": "stop"})
        gateway.store = card / "outbox.db"
        wait_until(lambda: len(net.front("lagos-04")) > 5, "first rows in the front")
        fill(card / "ballast")
        wait_until(lambda: gateway.status().get("disk") == "refused", "status says that commits are refused")
        assert "disk is full" in gateway.status_table()
        assert gateway.program.running
        assert gateway.state_of("pm") == "ok"
        (card / "ballast").unlink()
        rows = len(net.front("lagos-04"))
        wait_until(lambda: len(net.front("lagos-04")) > rows + 10, "rows flow again", 60)
        settled(net, gateway)
    finally:
        for program in [g.program for g in net.gateways]:
            program.kill()
        subprocess.run(["umount", str(card)], check=True)


def test_a_dead_a_babbling_and_a_vanished_sensor_do_not_delay_the_others(net: Network, tmp_path: Path) -> None:
    sensors = devices(tmp_path)
    net.simulate(sensors)
    dead = {"id": "dead", "profile": "eastron.sdm230", "at": f"modbus-tcp://127.0.0.1:{free_port()}?unit=1", "every": "1s"}
    absent = {"id": "absent", "profile": "plantower.pms5003", "at": f"serial:{tmp_path / 'nowhere.tty'}", "every": "1s"}
    gateway = net.add("lagos-05", [*sensors, dead, absent])
    wait_until(lambda: gateway.state_of("pm") == "ok" and gateway.state_of("box") == "ok", "the living sensors")
    patiently(6)
    with_time = {s["id"]: s for s in gateway.status()["sensors"]}
    assert with_time["dead"]["state"] != "ok"
    assert with_time["absent"]["state"] == "unplugged"
    assert with_time["absent"]["why"]
    for living in ("pm", "meter", "box"):
        assert with_time[living]["age_s"] < 5, living
    settled(net, gateway)
    rows = subprocess.run(["wc", "-l", str(gateway.folder / "export.ndjson")], capture_output=True, text=True, check=True)
    assert int(rows.stdout.split()[0]) > 15
