"""The written folder in a real mosquitto: who may speak where, proved by MQTT 5 reason codes."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from hub.fleet import broker
from readings.errors import Retry
from tests.servers import Mosquitto, free_port, mosquitto_at, wait_until

NOT_AUTHORIZED = 0x87
BAD_PASSWORD = 0x87


class Party:
    """One MQTT 5 client that remembers what it was told."""

    def __init__(self, port: int, user: str, password: str) -> None:
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=user, protocol=MQTTProtocolVersion.MQTTv5)
        self.client.username_pw_set(user, password)
        self.connected: list[int] = []
        self.codes: list[int] = []
        self.heard: list[tuple[str, bytes]] = []
        self._told = threading.Condition()
        self.client.on_connect = lambda _c, _u, _f, code, _p: self._note(self.connected, code.value)
        self.client.on_publish = lambda _c, _u, _mid, code, _p: self._note(self.codes, code.value)
        self.client.on_subscribe = lambda _c, _u, _mid, codes, _p: self._note(self.codes, codes[0].value)
        self.client.on_message = lambda _c, _u, message: self._note(self.heard, (message.topic, message.payload))
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def _note(self, where: list[Any], what: Any) -> None:
        with self._told:
            where.append(what)
            self._told.notify_all()

    def wait(self, where: list[Any]) -> Any:
        with self._told:
            assert self._told.wait_for(lambda: bool(where), timeout=5), "nothing came in 5 s"
            return where.pop(0)

    def publish(self, topic: str, payload: bytes = b"x") -> int:
        self.client.publish(topic, payload, qos=1)
        return int(self.wait(self.codes))

    def subscribe(self, topic: str) -> int:
        self.client.subscribe(topic, qos=1)
        return int(self.wait(self.codes))

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


class Written:
    """A real mosquitto on the folder that was written."""

    def __init__(self, folder: Path, accounts: broker.Accounts, server: Mosquitto) -> None:
        self.folder = folder
        self.accounts = accounts
        self.server = server

    def reload(self) -> None:
        seen = self.server.log.read_text().count("Reloading config")
        self.server.reload()
        wait_until(lambda: self.server.log.read_text().count("Reloading config") > seen, "mosquitto's reload")

    def party(self, user: str, password: str) -> Party:
        return Party(self.server.port, user, password)


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Written]:
    port = free_port()
    folder = tmp_path / "broker"
    accounts = broker.write(folder, port)
    with mosquitto_at(folder / "mosquitto.conf", port) as server:
        yield Written(folder, accounts, server)


@pytest.mark.server
def test_a_gateway_may_speak_under_its_own_name_and_no_other(written: Written) -> None:
    broker.set_password(written.folder, "unilag-01", "one")
    written.reload()
    hub, gateway = written.party("hub", written.accounts.hub), written.party("unilag-01", "one")
    assert hub.subscribe("gw/+/up") == 1
    assert gateway.publish("gw/unilag-01/up", b"mine") == 0
    assert hub.wait(hub.heard) == ("gw/unilag-01/up", b"mine")
    for topic in ("gw/unilag-02/up", "gw/unilag-01/down", "telemetry/unilag-01/pm", "gw/unilag-010/up"):
        assert gateway.publish(topic) == NOT_AUTHORIZED
    assert gateway.subscribe("gw/unilag-01/down") == 1
    assert hub.subscribe("$share/hub/gw/+/hello") == 1
    assert gateway.publish("gw/unilag-01/hello", b"hello") == 0
    assert hub.wait(hub.heard) == ("gw/unilag-01/hello", b"hello")
    assert hub.publish("gw/unilag-01/down", b"ack") == 0
    assert gateway.wait(gateway.heard) == ("gw/unilag-01/down", b"ack")
    hub.close()
    gateway.close()


@pytest.mark.server
def test_a_gateway_never_hears_another_ones_downs(written: Written) -> None:
    broker.set_password(written.folder, "unilag-01", "one")
    broker.set_password(written.folder, "unilag-02", "two")
    written.reload()
    hub = written.party("hub", written.accounts.hub)
    nosy = written.party("unilag-02", "two")
    nosy.subscribe("gw/#")
    nosy.subscribe("gw/unilag-02/down")
    hub.publish("gw/unilag-01/down", b"not yours")
    hub.publish("gw/unilag-02/down", b"yours")
    assert nosy.wait(nosy.heard)[1] == b"yours"
    hub.close()
    nosy.close()


@pytest.mark.server
def test_the_viewer_reads_telemetry_and_nothing_else(written: Written) -> None:
    assert written.accounts.viewer is not None
    hub, viewer = written.party("hub", written.accounts.hub), written.party("viewer", written.accounts.viewer)
    viewer.subscribe("gw/#")
    viewer.subscribe("telemetry/#")
    hub.publish("gw/unilag-01/down", b"secret")
    hub.publish("telemetry/unilag-01/pm", b"{}")
    assert viewer.wait(viewer.heard) == ("telemetry/unilag-01/pm", b"{}")
    assert viewer.publish("telemetry/unilag-01/pm") == NOT_AUTHORIZED
    hub.close()
    viewer.close()


@pytest.mark.server
def test_a_removed_or_wrong_account_is_turned_away(written: Written) -> None:
    broker.set_password(written.folder, "unilag-01", "one")
    written.reload()
    wrong = written.party("unilag-01", "two")
    assert wrong.wait(wrong.connected) == BAD_PASSWORD
    wrong.close()
    assert broker.remove(written.folder, "unilag-01")
    written.reload()
    gone = written.party("unilag-01", "one")
    assert gone.wait(gone.connected) == BAD_PASSWORD
    gone.close()


def test_a_hash_is_the_one_that_mosquitto_makes() -> None:
    """Made by `mosquitto_passwd -b` 2.0.11 for the password `secret`."""
    theirs = "$7$101$wvcmpVGbvxyZMliI$32pyb82iJfa6MS5TEqpYj1Zh2EQ+hT1bX56BSWxmcc+7KMvoBZrgSA7uVypIfs2gZtFR0q9QhDOPDvDr9WUzWg=="
    assert broker.fits("secret", theirs)
    assert not broker.fits("Secret", theirs)


def test_writing_the_folder_again_keeps_gateways_and_the_viewers_password(tmp_path: Path) -> None:
    first = broker.write(tmp_path, 1883)
    broker.set_password(tmp_path, "unilag-01", "one")
    second = broker.write(tmp_path, 1884, hub_password=first.hub)
    assert (second.hub, second.viewer) == (first.hub, None)
    assert broker.users(tmp_path) == {"hub", "viewer", "unilag-01"}
    assert "listener 1884 127.0.0.1" in (tmp_path / "mosquitto.conf").read_text()


def test_accounts_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    broker.write(tmp_path / "broker", 1883)
    assert (tmp_path / "broker" / "passwords").stat().st_mode & 0o077 == 0


def test_twenty_enrolments_at_once_lose_no_account(tmp_path: Path) -> None:
    broker.write(tmp_path, 1883)
    names = {f"unilag-{n:02}" for n in range(20)}
    threads = [threading.Thread(target=broker.set_password, args=(tmp_path, name, "x")) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert broker.users(tmp_path) == names | {"hub", "viewer"}


def test_a_folder_without_a_broker_says_how_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(Retry, match="harmattan-hub broker DIR"):
        broker.set_password(tmp_path, "unilag-01", "one")
    with pytest.raises(Retry, match="name a folder you may write"):
        broker.write(Path("/proc/broker"), 1883)
