"""A hub set back to an earlier day while its gateway sends: what came since is sent again, nothing is lost or stored twice."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.network import Gateway, Network, sensor_on_a_pty, settled
from tests.servers import wait_until
from tests.shape import embedded_only

pytestmark = [pytest.mark.server, pytest.mark.proof]
BODY = bytes.fromhex("424d001c") + b"".join(word.to_bytes(2, "big") for word in (5, 13, 22, 5, 13, 22, 765, 240, 28, 15, 6, 6, 0))
PMS_FRAME = BODY + (sum(BODY) & 0xFFFF).to_bytes(2, "big")


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Network]:
    with Network(tmp_path) as network:
        yield network


def growing(net: Network, gateway: Gateway) -> None:
    begun = len(net.front(gateway.name))
    wait_until(lambda: len(net.front(gateway.name)) > begun + 3, "more rows")


@embedded_only("an older file is put in the place of the live one")
def test_a_restored_backup_and_an_older_file_are_healed_by_the_gateway(net: Network, tmp_path: Path) -> None:
    with sensor_on_a_pty([PMS_FRAME]) as port:
        sensor = {"id": "pm", "profile": "plantower.pms5003", "at": f"serial:{port}", "every": "500ms"}
        gateway = net.add("lagos-01", [sensor])
        wait_until(lambda: len(net.front("lagos-01")) > 4, "first rows in the front")
        net.ask_hub("backup", str(tmp_path / "backup"))
        with sqlite3.connect(tmp_path / "hub" / "hub.db") as live, sqlite3.connect(tmp_path / "older.db") as older:
            live.backup(older)
        growing(net, gateway)
        assert net.hub.stop() == 0
        net.ask_hub("restore", str(tmp_path / "backup"))
        net.start_hub()
        growing(net, gateway)
        settled(net, gateway)

        assert net.hub.stop() == 0
        for suffix in ("-wal", "-shm"):
            (tmp_path / "hub" / f"hub.db{suffix}").unlink(missing_ok=True)
        (tmp_path / "older.db").replace(tmp_path / "hub" / "hub.db")
        net.start_hub()
        growing(net, gateway)
        settled(net, gateway)
        wait_until(lambda: len(net.samples()) >= len(net.front("lagos-01")) - 6, "the samples follow")
        samples = net.samples()
        assert len({(row[1], row[3]) for row in samples}) == len(samples), "a sample is stored twice"
        assert net.hub.log.read_text().count("incarnation changed") == 2
        assert gateway.program.stop() == 0
