"""The port on MQTT against a real mosquitto: what was refused is seen, what was cut comes back, reasons are words."""

import base64
import hashlib
import os
import pwd
import queue
import select
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from adapters.transport.mqtt import NO_SUBSCRIBERS, NOT_AUTHORISED, Client, parse_broker
from readings.errors import Stop
from tests.servers import Mosquitto, free_port, mosquitto_at, open_mosquitto, wait_until

pytestmark = pytest.mark.server


class Heard:
    """A client and everything its callbacks said."""

    def __init__(self, url: str, client_id: str, **settings: Any) -> None:
        self.said: queue.Queue[tuple[Any, ...]] = queue.Queue()
        self.messages: queue.Queue[tuple[str, bytes, Callable[[], None]]] = queue.Queue()
        self.client = Client(
            url,
            client_id=client_id,
            on_connected=lambda: self.said.put(("up",)),
            on_disconnected=lambda why: self.said.put(("down", why)),
            on_message=lambda topic, payload, ack: self.messages.put((topic, payload, ack)),
            on_published=lambda mid, code: self.said.put(("published", mid, code)),
            **settings,
        )

    def __enter__(self) -> "Heard":
        self.client.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.client.stop()

    def next(self, kind: str, timeout_s: float = 10) -> tuple[Any, ...]:
        while True:
            said = self.said.get(timeout=timeout_s)
            if said[0] == kind:
                return said


def subscribed(heard: Heard, broker_url: str, topic: str) -> None:
    """Returns once the broker delivers what is published on the topic."""
    with Heard(broker_url, "probe") as probe:
        probe.next("up")
        mid = probe.client.publish(topic, b"ready?", 1)
        while probe.next("published") != ("published", mid, 0):
            time.sleep(0.01)
            mid = probe.client.publish(topic, b"ready?", 1)
    _, payload, ack = heard.messages.get(timeout=5)
    assert payload == b"ready?"
    ack()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with open_mosquitto(tmp_path) as server:
        yield server


def test_a_message_goes_from_one_client_to_another(mosquitto: Mosquitto) -> None:
    with Heard(mosquitto.url, "one-b") as listener, Heard(mosquitto.url, "one-a") as speaker:
        listener.client.subscribe([("one/topic", 1)])
        listener.next("up")
        subscribed(listener, mosquitto.url, "one/topic")
        speaker.next("up")
        mid = speaker.client.publish("one/topic", b"\x00data", 1, expiry_s=30)
        assert speaker.next("published") == ("published", mid, 0)
        topic, payload, _ = listener.messages.get(timeout=5)
        assert (topic, payload) == ("one/topic", b"\x00data")


def test_a_message_that_nobody_subscribes_to_says_so(mosquitto: Mosquitto) -> None:
    with Heard(mosquitto.url, "lonely") as speaker:
        speaker.next("up")
        mid = speaker.client.publish("nobody/listens/here", b"x", 1)
        assert speaker.next("published") == ("published", mid, NO_SUBSCRIBERS)


def test_a_message_that_the_access_rules_refuse_says_so(tmp_path: Path) -> None:
    (tmp_path / "acl").write_text("topic read only/read\n")
    (tmp_path / "acl").chmod(0o600)
    with open_mosquitto(tmp_path, [f"acl_file {tmp_path / 'acl'}"]) as broker, Heard(broker.url, "barred") as speaker:
        speaker.next("up")
        mid = speaker.client.publish("gw/other/up", b"x", 1)
        assert speaker.next("published") == ("published", mid, NOT_AUTHORISED)


def test_unacknowledged_messages_hold_the_broker_back(mosquitto: Mosquitto) -> None:
    with (
        Heard(mosquitto.url, "slow", manual_ack=True, receive_maximum=3) as listener,
        Heard(mosquitto.url, "fast") as speaker,
    ):
        listener.client.subscribe([("held/back", 1)])
        listener.next("up")
        subscribed(listener, mosquitto.url, "held/back")
        speaker.next("up")
        for number in range(10):
            speaker.client.publish("held/back", bytes([number]), 1)
        held = [listener.messages.get(timeout=5) for _ in range(3)]
        with pytest.raises(queue.Empty):
            listener.messages.get(timeout=0.3)
        got = [payload for _, payload, _ in held]
        for _, _, ack in held:
            ack()
            ack()  # twice does no harm
        for _ in range(7):
            _, payload, ack = listener.messages.get(timeout=5)
            ack()
            got.append(payload)
        assert got == [bytes([number]) for number in range(10)]


def test_a_killed_broker_is_found_again_with_its_subscriptions(broker: Mosquitto) -> None:
    with Heard(broker.url, "faithful", manual_ack=True) as listener:
        listener.client.subscribe([("after/all", 1)])
        listener.next("up")
        subscribed(listener, broker.url, "after/all")
        broker.kill()
        listener.next("down")
        assert listener.client.publish("after/all", b"x", 1) is None
        wait_until(lambda: "nobody listens" in listener.client.why, "a reason in words")
        broker.start()
        listener.client.reconnect_now()
        listener.next("up")
        subscribed(listener, broker.url, "after/all")


def test_an_ack_of_an_old_connection_does_nothing(broker: Mosquitto) -> None:
    with Heard(broker.url, "late", manual_ack=True) as listener:
        listener.client.subscribe([("late", 1)])
        listener.next("up")
        with Heard(broker.url, "early") as speaker:
            speaker.next("up")
            wait_until(lambda: speaker.client.publish("late", b"x", 1) is not None and not listener.messages.empty(), "a message")
        _, _, ack = listener.messages.get()
        broker.kill()
        listener.next("down")
        broker.start()
        listener.client.reconnect_now()
        listener.next("up")
        ack()
        assert listener.client.connected


def test_a_broker_that_stands_still_fills_no_memory(broker: Mosquitto) -> None:
    with Heard(broker.url, "flood", keepalive_s=4) as speaker:
        speaker.next("up")
        broker.freeze()
        taken = 0
        while taken < 20_000 and speaker.client.publish("flood", bytes(30_000), 0) is not None:
            taken += 1
        assert taken < 2_000
        assert "went silent" in speaker.next("down", 15)[1]
        broker.thaw()
        speaker.next("up", 30)
        assert speaker.client.publish("flood", b"", 0) is not None


def test_mids_are_never_used_twice(broker: Mosquitto) -> None:
    with Heard(broker.url, "numbers") as speaker:
        speaker.next("up")
        before = {speaker.client.publish("n", b"", 1) for _ in range(5)}
        speaker.client.drop("a test")
        assert speaker.next("down") == ("down", "a test")
        speaker.client.reconnect_now()
        speaker.next("up")
        after = {speaker.client.publish("n", b"", 1) for _ in range(5)}
        assert len(before | after) == 10
        assert None not in before | after


def test_the_will_speaks_for_a_client_that_vanished_and_not_for_one_that_left(broker: Mosquitto) -> None:
    with Heard(broker.url, "witness") as witness:
        witness.client.subscribe([("gone", 1)])
        witness.next("up")
        subscribed(witness, broker.url, "gone")
        with Heard(broker.url, "polite", will=("gone", b"polite")) as polite:
            polite.next("up")
        with Heard(broker.url, "sudden", will=("gone", b"sudden")) as sudden:
            sudden.next("up")
            sudden.client.drop("a test")
            assert witness.messages.get(timeout=5)[1] == b"sudden"


def test_a_wrong_password_is_said_in_words(tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "gateway", "right"], check=True)
    port = free_port()
    config = tmp_path / "mosquitto.conf"
    user = f"user {pwd.getpwuid(os.geteuid()).pw_name}"
    lines = [user, "log_dest stderr", f"listener {port} 127.0.0.1", "allow_anonymous false", f"password_file {passwords}"]
    config.write_text("\n".join(lines) + "\n")
    with mosquitto_at(config, port), Heard(f"mqtt://127.0.0.1:{port}", "g", username="gateway", password="wrong") as client:
        assert "wrong password" in client.next("down")[1]
        assert not client.client.connected
    with mosquitto_at(config, port), Heard(f"mqtt://gateway:right@127.0.0.1:{port}", "g") as client:
        client.next("up")


def test_two_clients_of_one_name_are_given_as_the_reason(broker: Mosquitto) -> None:
    with Heard(broker.url, "twin") as first, Heard(broker.url, "twin") as second:
        wait_until(lambda: "another client called twin" in first.client.why + second.client.why, "the reason")


@contextmanager
def websocket_bridge(target: int, context: ssl.SSLContext) -> Iterator[int]:
    """A port that speaks WebSocket over TLS and passes the bytes on to a plain MQTT port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    plain, _ = listener.accept()
                    with suppress(OSError), plain, context.wrap_socket(plain, server_side=True) as link:
                        bridge(link, target)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def bridge(link: ssl.SSLSocket, target: int) -> None:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += link.recv(1)
    assert head.startswith(b"GET /mqtt HTTP/1.1")
    key = next(line.split(b": ")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())  # noqa: S324  # RFC 6455
    answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: mqtt\r\n"
    link.sendall(answer + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
    with socket.create_connection(("127.0.0.1", target)) as broker:
        while True:
            ready = [link] if link.pending() else select.select([link, broker], [], [])[0]
            if broker in ready:
                data = broker.recv(100)
                link.sendall(bytes([0x82, len(data)]) + data)
            if link in ready:
                broker.sendall(frame_from(link))


def frame_from(link: ssl.SSLSocket) -> bytes:
    def exactly(count: int) -> bytes:
        got = b""
        while len(got) < count:
            got += link.recv(count - len(got)) or (_ for _ in ()).throw(ConnectionError)
        return got

    size = exactly(2)[1] & 0x7F
    if size >= 126:
        size = int.from_bytes(exactly(2 if size == 126 else 8), "big")
    mask = exactly(4)
    return bytes(byte ^ mask[at % 4] for at, byte in enumerate(exactly(size)))


def test_mqtt_travels_through_websockets_with_tls(mosquitto: Mosquitto, tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with (
        websocket_bridge(mosquitto.port, context) as port,
        Heard(f"wss://localhost:{port}/mqtt", "web", ca=cert, username="web") as client,
    ):
        client.next("up")
        mid = client.client.publish("over/web", bytes(20_000), 1)
        assert client.next("published") == ("published", mid, NO_SUBSCRIBERS)


def test_tls_needs_a_certificate_that_the_ca_vouches_for(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    port = free_port()
    user = f"user {pwd.getpwuid(os.geteuid()).pw_name}"
    lines = [user, "log_dest stderr", f"listener {port} 127.0.0.1", f"certfile {cert}", f"keyfile {key}"]
    config = tmp_path / "mosquitto.conf"
    config.write_text("\n".join([*lines, "allow_anonymous true"]) + "\n")
    url = f"mqtts://localhost:{port}"
    with mosquitto_at(config, port):
        with Heard(url, "trusting", ca=cert.read_text()) as trusting:
            trusting.next("up")
            assert trusting.client.publish("over/tls", bytes(20_000), 1) is not None
            assert trusting.next("published")[2] == NO_SUBSCRIBERS
        with Heard(url, "strict") as strict:
            assert "certificate is not trusted" in strict.next("down")[1]


def certificate(folder: Path) -> tuple[Path, Path]:
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([*command, *names], check=True, capture_output=True)
    return cert, key


def test_a_port_that_never_answers_is_given_up_and_said_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        heard = Heard(f"mqtt://127.0.0.1:{silent.getsockname()[1]}", "patient", connect_s=0.5)
        with heard:
            assert "says nothing" in heard.next("down", 20)[1]
            wait_until(lambda: heard.client.next_try_s is not None or heard.client.why == "", "a next try")


def test_stop_returns_at_once_while_nothing_can_be_reached() -> None:
    client = Client(f"mqtt://127.0.0.1:{free_port()}", client_id="brief")
    client.start()
    wait_until(lambda: client.why != "", "a failed attempt")
    began = time.monotonic()
    client.stop()
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("url", ["http://x", "mqtt://", "mqtt://x:0", "mqtt://x:99999", "mqtt://x/path", "x", "mqtt://a b"])
def test_what_is_no_broker_address_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(Stop, match="mqtts://HOST:8883"):
        parse_broker(url)
