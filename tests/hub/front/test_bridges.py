"""Two bridges, each a process, share the work on one PostgreSQL: one freezes, wakes, dies, and no row is lost or doubled."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import make_url, select, text

from adapters.transport.mqtt import Client
from hub.auth.secrets import hub_secret
from hub.database import tables
from hub.database.engine import Database, open_database
from hub.fleet.enrolment import down_key
from hub.front.log import Front, ranges
from readings.messages import Ack, down_topic, unseal, up_topic
from readings.ranges import Ranges
from tests.hub.field import Gateway, enrol
from tests.servers import die_with_parent, free_port, listens, open_mosquitto, wait_until

pytestmark = pytest.mark.server
ROWS, STEP = 600, 3
RESEND_S = 2.0
PIECE = 61


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


@contextmanager
def faltering(upstream: tuple[str, int], paused: Callable[[], None]) -> Iterator[tuple[int, threading.Event]]:
    """A port before PostgreSQL. While it falters, what the client sends passes in pieces, with a call of `paused` before each."""
    falters = threading.Event()

    def there(client: socket.socket, server: socket.socket) -> None:
        while data := client.recv(1 << 16):
            step = PIECE if falters.is_set() else len(data)
            for at in range(0, len(data), step):
                if falters.is_set():
                    paused()
                server.sendall(data[at : at + step])
        server.shutdown(socket.SHUT_WR)

    def back(server: socket.socket, client: socket.socket) -> None:
        while data := server.recv(1 << 16):
            client.sendall(data)

    def listen() -> None:
        with suppress(OSError):  # closed
            while True:
                client, server = listener.accept()[0], socket.create_connection(upstream)
                threading.Thread(target=there, args=(client, server), daemon=True).start()
                threading.Thread(target=back, args=(server, client), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=listen, daemon=True).start()
        yield int(listener.getsockname()[1]), falters
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_wherever_in_a_commit_a_bridge_freezes_postgresql_calls_it_idle(database: Database, database_url: str) -> None:
    """And so ends its transaction after FROZEN_S. One that is "active", though it waits for its client, would keep its locks."""
    enrol(database, "demo-01")
    gateway = Gateway()
    gateway.start()
    gateway.schema()
    gateway.samples(30)
    seen: list[str] = []
    ask = "SELECT state FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    ask += " AND xact_start IS NOT NULL AND wait_event = 'ClientRead'"

    def paused() -> None:
        time.sleep(0.005)  # PostgreSQL reads what it has
        with database.read() as connection:
            seen.extend(connection.execute(text(ask)).scalars())

    url = make_url(database_url)
    with faltering((url.host or "", url.port or 5432), paused) as (port, falters):
        own = open_database(url.set(host="127.0.0.1", port=port).render_as_string(hide_password=False))
        front = Front(own)
        front.store([gateway.came(1, 2)])
        falters.set()
        outcomes = front.store([gateway.came(lo, lo + 5) for lo in range(3, 33, 6)])
        falters.clear()
        own.close()
    assert [outcome.what for outcome in outcomes] == ["stored"] * 5
    assert len(seen) > 30, "pieces small enough to break every statement"
    assert set(seen) == {"idle in transaction"}
