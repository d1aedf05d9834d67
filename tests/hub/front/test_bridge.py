"""The bridge against a real mosquitto: gateways speak MQTT, the hub acks what it has committed, whatever fails meanwhile."""

import json
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import func, select, text

from adapters.transport.mqtt import Client
from hub.database import tables
from hub.database.engine import Database, open_database
from hub.fleet.broker import HubAccount, keep_account, set_password, write
from hub.front.bridge import Bridge
from hub.settings import Settings, load
from readings.messages import Ack, Answer, Down, down_topic, hello_topic, unseal, up_topic
from tests.hub.field import Gateway, enrol
from tests.servers import Mosquitto, free_port, mosquitto_at, open_mosquitto, wait_until
from tests.shape import embedded_only

pytestmark = pytest.mark.server

KEY = b"k" * 32
KNOWN = ("demo-01", "demo-02")


def keys(gateway: str) -> tuple[bytes, int] | None:
    return (KEY, 3) if gateway in KNOWN else None


@contextmanager
def running(bridge: Bridge) -> Iterator[Bridge]:
    stop = threading.Event()
    thread = threading.Thread(target=bridge.run, args=(stop,))
    thread.start()
    try:
        yield bridge
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()


class Radio:
    """A gateway's connection, and the telemetry that the broker holds."""

    def __init__(self, url: str, name: str = "demo-01", password: str | None = None) -> None:
        self.name = name
        self.heard: queue.Queue[Down] = queue.Queue()
        self.status: queue.Queue[dict[str, object]] = queue.Queue()
        will = (hello_topic(name), b'{"bye":true}')
        self.client = Client(url, client_id=name, username=name, password=password, will=will, on_message=self._message)
        self.client.subscribe([(down_topic(name), 1), (f"telemetry/{name}/status", 1)])
        self.client.start()
        wait_until(lambda: self.client.connected, "the gateway's connection")

    def _message(self, topic: str, payload: bytes, ack: object) -> None:
        if topic.startswith("telemetry/"):
            self.status.put(json.loads(payload))
        else:
            self.heard.put(unseal(payload, topic=topic, key=KEY))

    def says(self, gateway: Gateway, lo: int = 1, hi: int | None = None) -> None:
        self.client.publish(up_topic(self.name), gateway.message(lo, hi), 1)

    def hello(self, gateway: Gateway, nonce: str = "n1") -> None:
        self.client.publish(hello_topic(self.name), msgspec.json.encode(gateway.hello(nonce)), 1)

    def acked(self) -> Ack:
        heard = self.heard.get(timeout=20)
        assert isinstance(heard, Ack)
        return heard

    def told(self, **expected: object) -> None:
        """Waits for a status that says so; the same one may come twice."""
        while not self.status.get(timeout=20).items() >= expected.items():
            pass


@contextmanager
def radio(url: str, name: str = "demo-01", password: str | None = None) -> Iterator[Radio]:
    made = Radio(url, name, password)
    yield made
    made.client.stop()


@pytest.fixture
def gateway() -> Gateway:
    made = Gateway()
    made.start()
    made.schema()
    made.samples(10)
    return made


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    (tmp_path / "broker").mkdir()
    with open_mosquitto(tmp_path / "broker") as server:
        yield server


def settings(tmp_path: Path, url: str) -> Settings:
    return load({"DATA_DIR": str(tmp_path), "MQTT_URL": url})


def rows(database: Database) -> int:
    with database.read() as connection:
        return int(connection.execute(select(func.coalesce(func.sum(tables.batch.c.n), 0))).scalar_one())


def test_a_hello_is_answered_and_a_message_acked_after_its_commit(
    database: Database, tmp_path: Path, broker: Mosquitto, gateway: Gateway
) -> None:
    enrol(database, *KNOWN)
    with running(Bridge(settings(tmp_path, broker.url), database, keys)) as bridge, radio(broker.url) as sender:
        wait_until(lambda: bool(bridge.state()["ok"]), "the bridge")
        sender.hello(gateway, "n5")
        answer = sender.heard.get(timeout=20)
        assert isinstance(answer, Answer)
        assert (answer.nonce, answer.held) == ("n5", {gateway.stream: []})
        sender.says(gateway)
        ack = sender.acked()
        assert (ack.got, ack.held, ack.incarnation) == ((1, 12), [(1, 12)], answer.incarnation)
        assert rows(database) == 12


@embedded_only("PostgreSQL's incarnation is the server's own, whichever bridge asks")
def test_a_new_bridge_on_the_same_file_is_a_new_incarnation(
    one_database: Database, tmp_path: Path, broker: Mosquitto, gateway: Gateway
) -> None:
    enrol(one_database, *KNOWN)
    seen = []
    with radio(broker.url) as sender:
        for _ in range(2):
            with running(Bridge(settings(tmp_path, broker.url), one_database, keys)) as bridge:
                wait_until(lambda b=bridge: bool(b.state()["ok"]), "the bridge")  # type: ignore[misc]
                sender.says(gateway)
                seen.append(sender.acked())
    assert seen[0].incarnation != seen[1].incarnation
    assert seen[0].held == seen[1].held
    assert rows(one_database) == 12


def test_a_revoked_or_unknown_gateway_is_refused_whatever_the_broker_allows(
    one_database: Database, tmp_path: Path, broker: Mosquitto, gateway: Gateway
) -> None:
    enrol(one_database, "demo-01", "revoked-01")
    stranger = Gateway("revoked-01")
    stranger.start()
    bridge = Bridge(settings(tmp_path, broker.url), one_database, keys)
    with running(bridge), radio(broker.url) as good, radio(broker.url, "revoked-01") as bad:
        wait_until(lambda: bool(bridge.state()["ok"]), "the bridge")
        bad.hello(stranger)
        bad.says(stranger)
        good.says(gateway)
        good.acked()
        wait_until(lambda: bridge.counters["unknown_gateways"] == 2, "the refusals")
        assert bad.heard.empty()
        assert rows(one_database) == 12


def test_garbage_stops_nothing(one_database: Database, tmp_path: Path, broker: Mosquitto, gateway: Gateway) -> None:
    enrol(one_database, *KNOWN)
    bridge = Bridge(settings(tmp_path, broker.url), one_database, keys)
    with running(bridge), radio(broker.url) as sender:
        wait_until(lambda: bool(bridge.state()["ok"]), "the bridge")
        for payload in (b"", b"HM", b"\xff" * 100, gateway.message()[:-1]):
            sender.client.publish(up_topic("demo-01"), payload, 1)
            sender.client.publish(hello_topic("demo-01"), payload, 1)
        sender.says(gateway)
        sender.acked()
        assert bridge.front.counters["refused"] == 4
        # Hellos are read after the messages of their commit, so the last may still be to come.
        wait_until(lambda: bridge.counters["bad_hellos"] == 4, "the bad hellos")
        assert bridge.counters["errors"] == 0


def test_a_locked_database_keeps_messages_and_says_so_and_acks_them_when_it_is_free(
    tmp_path: Path, broker: Mosquitto, gateway: Gateway
) -> None:
    url = f"sqlite:///{tmp_path / 'hub.db'}"
    database, other = open_database(url, create=True, busy_ms=50), open_database(url)
    enrol(database, *KNOWN)
    bridge = Bridge(settings(tmp_path, broker.url), database, keys)
    with running(bridge), radio(broker.url) as sender:
        wait_until(lambda: bool(bridge.state()["ok"]), "the bridge")
        with other.write() as connection:
            connection.execute(text("UPDATE meta SET value = value"))
            for lo in range(1, 13):
                sender.says(gateway, lo, lo)
            wait_until(lambda: "database: " in bridge.state()["why"], "the state")
            assert sender.heard.empty()
        for _ in range(12):
            sender.acked()
        wait_until(lambda: bool(bridge.state()["ok"]), "the state")
        assert rows(database) == 12
    database.close()
    other.close()


def test_a_broker_that_is_away_is_named_and_found_again(tmp_path: Path, one_database: Database, gateway: Gateway) -> None:
    enrol(one_database, *KNOWN)
    (tmp_path / "broker").mkdir()
    with open_mosquitto(tmp_path / "broker") as server:
        bridge = Bridge(settings(tmp_path, server.url), one_database, keys)
        with running(bridge):
            wait_until(lambda: bool(bridge.state()["ok"]), "the bridge")
            server.kill()
            wait_until(lambda: "broker: " in bridge.state()["why"], "the state")
            server.start()
            wait_until(lambda: bool(bridge.state()["ok"]), "the bridge's return")
            with radio(server.url) as sender:
                sender.says(gateway)
                assert sender.acked().held == [(1, 12)]


def test_a_wrong_password_is_said_and_a_right_one_taken_without_a_restart(
    tmp_path: Path, one_database: Database, gateway: Gateway
) -> None:
    enrol(one_database, *KNOWN)
    port = free_port()
    url = f"mqtt://127.0.0.1:{port}"
    accounts = write(tmp_path / "broker", port)
    keep_account(tmp_path, HubAccount(url, "hub", "wrong"))
    bridge = Bridge(load({"DATA_DIR": str(tmp_path)}), one_database, keys)
    with mosquitto_at(tmp_path / "broker" / "mosquitto.conf", port), running(bridge):
        wait_until(lambda: "wrong password" in bridge.state()["why"], "the state")
        keep_account(tmp_path, HubAccount(url, "hub", accounts.hub))
        wait_until(lambda: bool(bridge.state()["ok"]), "the bridge")


def test_the_password_file_is_used_for_the_user_of_the_url(tmp_path: Path, one_database: Database) -> None:
    port = free_port()
    accounts = write(tmp_path / "broker", port)
    (tmp_path / "secret").write_text(accounts.hub + "\n")
    given = {
        "DATA_DIR": str(tmp_path),
        "MQTT_URL": f"mqtt://hub@127.0.0.1:{port}",
        "MQTT_PASSWORD_FILE": str(tmp_path / "secret"),
    }
    bridge = Bridge(load(given), one_database, keys)
    with mosquitto_at(tmp_path / "broker" / "mosquitto.conf", port), running(bridge):
        wait_until(lambda: bool(bridge.state()["ok"]), "the bridge")


def test_a_share_group_passes_the_brokers_access_rules(tmp_path: Path, postgres: str, gateway: Gateway) -> None:
    """Two bridges on one PostgreSQL behind production's ACL: each message goes to one of them and is stored once."""
    database = open_database(postgres, create=True)
    enrol(database, *KNOWN)
    port = free_port()
    url = f"mqtt://127.0.0.1:{port}"
    accounts = write(tmp_path / "broker", port)
    set_password(tmp_path / "broker", "demo-01", "secret")
    keep_account(tmp_path, HubAccount(url, "hub", accounts.hub))
    bridges = [Bridge(load({"DATA_DIR": str(tmp_path)}), database, keys) for _ in range(2)]
    with mosquitto_at(tmp_path / "broker" / "mosquitto.conf", port), running(bridges[0]), running(bridges[1]):
        wait_until(lambda: all(b.state()["ok"] for b in bridges), "both bridges")
        heard: queue.Queue[bytes] = queue.Queue()
        sender = Client(
            url,
            client_id="demo-01",
            username="demo-01",
            password="secret",
            on_message=lambda topic, payload, ack: heard.put(payload),
        )
        sender.subscribe([(down_topic("demo-01"), 1)])
        sender.start()
        wait_until(lambda: sender.connected, "the gateway's connection")
        for lo in range(1, 13):
            sender.publish(up_topic("demo-01"), gateway.message(lo, lo), 1)
        for _ in range(12):
            unseal(heard.get(timeout=20), topic=down_topic("demo-01"), key=KEY)
        sender.stop()
        assert rows(database) == 12
        assert sum(b.counters["messages"] for b in bridges) == 12
        assert all(b.counters["messages"] for b in bridges)
    database.close()


def test_the_status_topic_tells_online_pending_and_gone(
    one_database: Database, tmp_path: Path, broker: Mosquitto, gateway: Gateway
) -> None:
    enrol(one_database, *KNOWN)
    bridge = Bridge(settings(tmp_path, broker.url), one_database, keys)
    with running(bridge), radio(broker.url, "demo-02") as watcher:
        wait_until(lambda: bool(bridge.state()["ok"]), "the bridge")
        watcher.client.subscribe([("telemetry/demo-01/status", 1)])
        with radio(broker.url) as sender:
            sender.hello(gateway)
            watcher.told(online=True, pending=12)
            sender.says(gateway)
            watcher.told(online=True, pending=0)
            sender.client.drop("power cut")
            watcher.told(online=False, pending=0)
