"""Two bridges, each a process, share the work on one PostgreSQL: one freezes, wakes, dies, and no row is lost or doubled."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select

from adapters.transport.mqtt import Client
from hub.auth.secrets import hub_secret
from hub.database import tables
from hub.database.engine import Database
from hub.fleet.enrolment import down_key
from hub.front.log import ranges
from readings.messages import Ack, down_topic, unseal, up_topic
from readings.ranges import Ranges
from tests.hub.field import Gateway, enrol
from tests.servers import die_with_parent, free_port, listens, open_mosquitto, wait_until

pytestmark = pytest.mark.server
ROWS, STEP = 600, 3
RESEND_S = 2.0


class Sender:
    """A gateway that sends each message again until it is acked."""

    def __init__(self, url: str, gateway: Gateway, key: bytes) -> None:
        self._gateway, self._key = gateway, key
        self._acked: set[int] = set()
        self.acks: list[Ack] = []
        self._sent: dict[int, float] = {}
        self._client = Client(url, client_id=gateway.name, username=gateway.name, password=None, on_message=self._heard)
        self._client.subscribe([(down_topic(gateway.name), 0)])
        self._client.start()
        wait_until(lambda: self._client.connected, "the gateway's connection")

    def _heard(self, topic: str, payload: bytes, ack: object) -> None:
        message = unseal(payload, topic=topic, key=self._key)
        if isinstance(message, Ack):
            self.acks.append(message)
            self._acked.add(message.got[0])

    def send(self, upto: int) -> bool:
        """Whether all up to this row is acked; sends what is not, and not too often."""
        late = [lo for lo in range(1, upto + 1, STEP) if lo not in self._acked]
        for lo in late:
            if time.monotonic() - self._sent.get(lo, 0.0) > RESEND_S:
                self._sent[lo] = time.monotonic()
                self._client.publish(up_topic(self._gateway.name), self._gateway.message(lo, lo + STEP - 1), 1, expiry_s=2)
        return not late

    def stop(self) -> None:
        self._client.stop()


@contextmanager
def bridge(folder: Path, database_url: str, mqtt: str) -> Iterator[subprocess.Popen[bytes]]:
    port = free_port()
    settings = {"DATA_DIR": str(folder), "DATABASE_URL": database_url, "MQTT_URL": mqtt, "METRICS_BIND": f"127.0.0.1:{port}"}
    with (folder / f"bridge-{port}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "hub", "run", "bridge"],
            env={**os.environ, **settings}, stdout=log, stderr=log, preexec_fn=die_with_parent,
        )  # fmt: skip
    try:
        wait_until(lambda: listens(port) or process.poll() is not None, "a bridge", 60)
        assert process.poll() is None, (folder / f"bridge-{port}.log").read_text()
        yield process
    finally:
        process.kill()
        process.wait()


def stored(database: Database) -> tuple[Ranges, int]:
    """(the numbers of the log, how many rows it has)."""
    b = tables.batch.c
    with database.read() as connection:
        rows = connection.execute(select(b.lo, b.n, b.take)).all()
    taken = [ranges(row.take) if row.take else Ranges.span(row.lo, row.lo + row.n - 1) for row in rows]
    return Ranges(pair for one in taken for pair in one), sum(map(len, taken))


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_one_of_two_bridges_freezes_wakes_and_dies(database: Database, database_url: str, tmp_path: Path) -> None:
    enrol(database, "demo-01")
    gateway = Gateway()
    gateway.start()
    gateway.schema()
    gateway.samples(ROWS - 2)
    key = down_key(hub_secret(tmp_path), "demo-01", 1)
    (tmp_path / "broker").mkdir()
    with (
        open_mosquitto(tmp_path / "broker") as broker,
        bridge(tmp_path, database_url, broker.url) as first,
        bridge(tmp_path, database_url, broker.url),
    ):
        wait_until(lambda: broker.log.read_text().count("hub-bridge-") >= 2, "both at the broker")
        sender = Sender(broker.url, gateway, key)
        wait_until(lambda: sender.send(ROWS // 3), "a third", 60)
        freezing = threading.Timer(0.05, lambda: os.kill(first.pid, signal.SIGSTOP))
        freezing.start()
        wait_until(lambda: sender.send(2 * ROWS // 3), "two thirds, while one is frozen", 60)
        freezing.join()
        os.kill(first.pid, signal.SIGCONT)
        first.kill()
        wait_until(lambda: sender.send(ROWS), "all, after it died", 60)
        sender.stop()
    numbers, rows = stored(database)
    assert numbers == Ranges.span(1, ROWS)
    assert rows == ROWS, "a row is stored twice"
    ids = [row[0] for row in database_ids(database)]
    assert ids == sorted(set(ids))
    assert all(ack.incarnation == sender.acks[0].incarnation for ack in sender.acks), "two bridges, one incarnation"


def database_ids(database: Database) -> list[tuple[int]]:
    with database.read() as connection:
        return [tuple(row) for row in connection.execute(select(tables.batch.c.id).order_by(tables.batch.c.id))]
