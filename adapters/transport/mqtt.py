"""The one small port on an MQTT broker: MQTT 5, clean start, no session; messages in and out, reasons in words. Never blocks.

Each connection gets a paho client of its own, driven by our thread through paho's external loop: paho's own reconnect would send
what an old connection left over, and everything between gateway and hub decides for itself what is sent again.
"""

import logging
import os
import random
import select
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from adapters.transport.broker import Broker, parse_broker

__all__ = ["NOT_AUTHORISED", "NO_SUBSCRIBERS", "Broker", "Client", "parse_broker"]


log = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
CONNECT_S = 10.0
"""For TCP, TLS and the broker's CONNACK, each."""
BRIEF_S = 5.0
MAX_QUEUED = 1000
IN_FLIGHT = 20
"""QoS 1 messages sent and not answered; what mosquitto allows by default. More wait in paho's queue."""
NOT_AUTHORISED, NO_SUBSCRIBERS = 0x87, 0x10
_REFUSALS = {
    0x84: "it does not speak MQTT 5",
    0x85: "it refuses this client id",
    0x86: "it refuses this user name or password",
    0x87: "it does not let this user in: wrong password, unknown, revoked, or it has yet to read its accounts again (HUP)",
    0x88: "it is unavailable",
    0x89: "it is busy",
    0x8A: "it has banned this client",
    0x8B: "it is shutting down",
    0x8D: "it heard nothing from us for too long",
    0x8E: "another client uses this client id",
    0x95: "a message was too large for it",
    0x97: "the quota is used up",
    0x9F: "it limits the rate of connections",
}


def _ignore(*_: Any) -> None:
    """The callback of who does not care."""


class Client:
    """One connection to one broker, made again for ever after `start()`: full jitter, 1 s doubling to 60 s.

    Callbacks come on the network thread and must return soon. `on_message(topic, payload, ack)`: with `manual_ack` the broker
    sends at most `receive_maximum` messages whose `ack()` was not called; calling it from any thread, late or twice does no harm.
    `on_disconnected(why)`: a connection, or an attempt at one, has ended; `why` is for people, and is kept in `why`.
    `on_published(mid, reason_code)`: the broker's word for a QoS 1 message: 0, 0x10 nobody subscribes, 0x87 not authorised, ...
    A mid is never used twice. What was published and not answered when a connection ends is forgotten here.
    """

    def __init__(
        self,
        url: str,
        *,
        client_id: str,
        username: str | None = None,
        password: str | None = None,
        keepalive_s: int = 30,
        will: tuple[str, bytes] | None = None,
        manual_ack: bool = False,
        receive_maximum: int = 100,
        ca: str | Path | None = None,
        connect_s: float = CONNECT_S,
        on_connected: Callable[[], None] = _ignore,
        on_disconnected: Callable[[str], None] = _ignore,
        on_message: Callable[[str, bytes, Callable[[], None]], None] = _ignore,
        on_published: Callable[[int, int], None] = _ignore,
    ) -> None:
        self.broker = parse_broker(url)
        self.why = ""
        self._client_id = client_id
        self._login = (username or self.broker.user, password if password is not None else self.broker.password)
        self._keepalive_s = keepalive_s
        self._will = will
        self._manual_ack = manual_ack
        self._receive_maximum = receive_maximum
        self._ca = ca
        self._connect_s = connect_s
        self._on_connected, self._on_disconnected, self._on_message, self._on_published = (
            on_connected, on_disconnected, on_message, on_published,
        )  # fmt: skip
        self._topics: dict[str, int] = {}
        self._unsent: deque[paho.MQTTMessageInfo] = deque()
        self._paho: paho.Client | None = None
        self._in_flight = IN_FLIGHT
        self._epoch = 0
        self._up = False
        self._up_since = 0.0
        self._ended_why = ""
        self._brief = self._failures = 0
        self._next_try: float | None = None
        self._stopping = False
        self._hurry = threading.Event()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wake_lock, self._queue_lock = threading.Lock(), threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def connected(self) -> bool:
        return self._up

    @property
    def next_try_s(self) -> float | None:
        """Seconds to the next attempt; None while connected, connecting or stopped."""
        return None if self._next_try is None else max(0.0, self._next_try - time.monotonic())

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=f"mqtt {self.broker.host}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Says goodbye (the will is not sent) and waits for the thread."""
        self._stopping = True
        self._hurry.set()
        self._wake()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(self._connect_s + 2)

    def reconnect_now(self) -> None:
        """Ends the pause before the next attempt."""
        self._failures = 0
        self._hurry.set()

    def drop(self, why: str) -> None:
        """Cuts the connection without a goodbye (the will is sent); the next attempt comes by itself."""
        self._ended_why = why
        self._wake()

    def publish(
        self, topic: str, payload: bytes, qos: int = 0, *, retain: bool = False, expiry_s: int | None = None
    ) -> int | None:
        """Its mid, or None when it was not taken: no connection, or too much waits to be sent."""
        client = self._paho
        if client is None or not self._up:
            return None
        properties = None
        if expiry_s is not None:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.MessageExpiryInterval = max(1, expiry_s)
        if qos == 0 and not self._room():
            return None
        epoch = self._epoch
        info = client.publish(topic, payload, qos, retain, properties)
        if qos == 0 and info.rc == paho.MQTT_ERR_SUCCESS:
            self._unsent.append(info)
        self._wake()
        return epoch << 16 | info.mid if info.rc == paho.MQTT_ERR_SUCCESS else None

    def _room(self) -> bool:
        """Whether fewer than MAX_QUEUED messages of QoS 0 wait: paho keeps any number of them for a broker that stands still."""
        with self._queue_lock:
            while self._unsent and self._unsent[0].is_published():
                self._unsent.popleft()
            return len(self._unsent) < MAX_QUEUED

    def subscribe(self, topics: Sequence[tuple[str, int]]) -> None:
        """From now on and after each reconnect, before `on_connected`."""
        fresh = [(topic, qos) for topic, qos in topics if self._topics.get(topic) != qos]
        self._topics.update(fresh)
        client = self._paho
        if fresh and client is not None and self._up:
            self._send_subscribe(client, fresh)
            self._wake()

    # ---- the network thread

    def _run(self) -> None:
        while not self._stopping:
            self._ended_why = ""
            for step in (self._session, self._closed):
                try:
                    step()
                except Exception as error:  # outermost loop of this thread: a callback of ours failed
                    log.exception("mqtt connection dropped broker=%s", self.broker.shown)
                    self._ended_why = f"an error here: {error}"
            if not self._stopping:
                self._pause()
        with self._wake_lock:
            os.close(self._wake_read)
            os.close(self._wake_write)
            self._wake_write = -1

    def _session(self) -> None:
        """One connection from its first packet to its end. Leaves the reason in `_ended_why`."""
        self._epoch += 1
        client = self._made()
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = 0
        properties.ReceiveMaximum = self._receive_maximum
        try:
            # paho pings after a keepalive without traffic and gives up one keepalive later. With three quarters of it a
            # half-open connection is noticed within 1.5 times the keepalive asked for.
            keepalive_s = max(1, int(self._keepalive_s * 0.75))
            client.connect(self.broker.host, self.broker.port, keepalive_s, clean_start=True, properties=properties)
        except (OSError, ValueError, paho.WebsocketConnectionError) as error:
            self._ended_why = self._ended_why or _words(error, self.broker)
            return
        self._paho = client
        deadline = time.monotonic() + self._connect_s
        while (link := client.socket()) is not None and not self._stopping and not self._ended_why:
            self._wait(client, link)
            client.loop_misc()
            if not self._up and time.monotonic() > deadline:
                self._ended_why = f"{self.broker.host}:{self.broker.port} accepts connections and says nothing"
        self._goodbye(client)

    def _wait(self, client: paho.Client, link: Any) -> None:
        """Sleeps until there is something to read or to write, then does it."""
        poll = select.poll()
        poll.register(link, select.POLLIN | (select.POLLOUT if client.want_write() else 0))
        poll.register(self._wake_read, select.POLLIN)
        more = getattr(link, "pending", None)
        timeout_s = 0.0 if more is not None and more() else min(5.0, self._keepalive_s / 8) if self._up else 1.0
        ready = dict(poll.poll(timeout_s * 1000))
        if self._wake_read in ready:
            os.read(self._wake_read, 4096)
        if ready.get(link.fileno(), 0) & ~select.POLLOUT or timeout_s == 0.0:
            client.loop_read()
        if client.want_write():
            client.loop_write()

    def _goodbye(self, client: paho.Client) -> None:
        link = client.socket()
        if link is not None and self._stopping and not self._ended_why:
            client.disconnect()
            deadline = time.monotonic() + 1.0
            poll = select.poll()  # select() takes no descriptor over 1023
            poll.register(link, select.POLLOUT)
            while client.want_write() and client.socket() is not None and time.monotonic() < deadline:
                poll.poll(50)
                client.loop_write()  # closes the socket itself behind the last packet
        if link is not None:
            link.close()

    def _closed(self) -> None:
        was_up, self._up, self._paho = self._up, False, None
        with self._queue_lock:
            self._unsent.clear()
        if was_up:
            brief = time.monotonic() - self._up_since < BRIEF_S and not self._stopping
            self._brief = self._brief + 1 if brief else 0
        self.why = self._ended_why or ("stopped" if self._stopping else self._cut())
        if was_up:
            log.info("mqtt disconnected broker=%s why=%r", self.broker.shown, self.why)
        self._on_disconnected(self.why)

    def _cut(self) -> str:
        """mosquitto 2.0 does not say that a second client of the same name took over: it shows as cut after cut."""
        if self._brief < 3:
            return "the connection was cut"
        return f"each connection is cut within seconds; is another client called {self._client_id}?"

    def _pause(self) -> None:
        """Full jitter: anywhere between now and a ceiling that doubles, so that a fleet does not return in step."""
        ceiling = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(self._failures, 10))
        self._failures += 1
        pause_s = random.uniform(0, ceiling)  # noqa: S311  # no secret
        self._next_try = time.monotonic() + pause_s
        self._hurry.wait(pause_s)
        self._hurry.clear()
        self._next_try = None

    def _wake(self) -> None:
        with self._wake_lock, suppress(BlockingIOError):  # a full pipe: it is awake already
            if self._wake_write >= 0:
                os.write(self._wake_write, b"w")

    # ---- paho

    def _made(self) -> paho.Client:
        transport = "websockets" if "ws" in self.broker.scheme else "tcp"
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            protocol=paho.MQTTv5,
            transport=transport,  # type: ignore[arg-type]
            reconnect_on_failure=False,
            manual_ack=self._manual_ack,
        )
        client.connect_timeout = self._connect_s
        client.max_queued_messages_set(MAX_QUEUED)
        client.max_inflight_messages_set(self._in_flight)
        user, password = self._login
        if user:
            client.username_pw_set(user, password or None)
        if self._will is not None:
            client.will_set(self._will[0], self._will[1], qos=1)
        if not self.broker.plain:
            client.tls_set_context(_tls(self._ca))
        if transport == "websockets":
            client.ws_set_options(path=self.broker.path)
        client.on_connect = self._connack
        client.on_disconnect = self._ended
        client.on_message = self._message
        client.on_publish = self._puback
        client.on_subscribe = self._suback
        client.on_socket_register_write = _ignore  # `publish` wakes the thread itself
        return client

    def _connack(self, client: paho.Client, _data: Any, _flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._ended_why = f"the broker at {self.broker.host}:{self.broker.port}: {_refusal(reason)}"
            return
        allowed = getattr(properties, "ReceiveMaximum", 65535)
        if allowed < self._in_flight:  # paho takes the number before it connects only
            self._in_flight, self._ended_why = allowed, f"the broker takes only {allowed} messages at a time: connecting anew"
            return
        self._paho, self._up, self._up_since = client, True, time.monotonic()
        self._failures = min(self._brief, 2)
        self.why = ""
        log.info("mqtt connected broker=%s", self.broker.shown)
        if self._topics:
            self._send_subscribe(client, list(self._topics.items()))
        self._on_connected()

    def _send_subscribe(self, client: paho.Client, topics: Sequence[tuple[str, int]]) -> None:
        client.subscribe([(topic, SubscribeOptions(qos=qos)) for topic, qos in topics])

    def _suback(self, _client: paho.Client, _data: Any, _mid: int, reasons: Any, _properties: Any) -> None:
        if any(reason.is_failure for reason in reasons):
            self._ended_why = "the broker refuses a subscription; look at its access rules"

    def _ended(self, _client: paho.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if self._ended_why:
            return
        if reason.getName() == "Keep alive timeout":
            self._ended_why = f"{self.broker.host} went silent"
        elif reason.is_failure and reason.value != 0x80:
            self._ended_why = f"the broker at {self.broker.host}:{self.broker.port}: {_refusal(reason)}"

    def _message(self, client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            client.ack(message.mid, message.qos)
            return
        mid, qos = message.mid, message.qos
        acked = threading.Event()

        def ack() -> None:
            if qos and self._manual_ack and not acked.is_set() and self._paho is client:
                acked.set()
                client.ack(mid, qos)
                self._wake()

        self._on_message(topic, bytes(message.payload), ack)

    def _puback(self, _client: paho.Client, _data: Any, mid: int, reason: Any, _properties: Any) -> None:
        self._on_published(self._epoch << 16 | mid, reason.value)


def _tls(ca: str | Path | None) -> ssl.SSLContext:
    """Certificates are always verified; `ca`: the text of a certificate, or a file."""
    if ca is None:
        return ssl.create_default_context()
    if isinstance(ca, str) and "BEGIN CERTIFICATE" in ca:
        return ssl.create_default_context(cadata=ca)
    return ssl.create_default_context(cafile=str(ca))


def _refusal(reason: Any) -> str:
    return _REFUSALS.get(reason.value, str(reason).lower())


def _words(error: Exception, broker: Broker) -> str:
    """Why no connection came about, for people."""
    at = f"{broker.host}:{broker.port}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"{at}: its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"{at}: no TLS there: {(error.reason or str(error)).replace('_', ' ').lower()}"
    if isinstance(error, socket.gaierror):
        return f"the name {broker.host} cannot be resolved"
    if isinstance(error, TimeoutError):
        return f"{at} does not answer"
    if isinstance(error, ConnectionRefusedError):
        return f"nobody listens at {at}"
    if isinstance(error, paho.WebsocketConnectionError):
        return f"{at}{broker.path}: no WebSocket there: {error}"
    if isinstance(error, FileNotFoundError):
        return f"the file of the CA is missing: {error.filename or 'ca'}"
    return f"{at}: {getattr(error, 'strerror', None) or error}"
