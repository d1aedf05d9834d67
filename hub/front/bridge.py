"""MQTT -> front, and acks and answers back. Whose message it is says the topic, which the broker enforces, never the body.

The network thread only queues. One writer thread stores many messages in one commit, then acks. A message leaves the broker when
it has been dealt with, so a slow or absent database holds the broker back; nothing is acked to a gateway before its commit.
"""

import contextlib
import logging
import queue
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from adapters.transport.mqtt import Client
from hub.database.engine import Database, DatabaseAway
from hub.fleet.visibility import hidden_gateways
from hub.front import clock
from hub.front.broker_account import Account, broker_account
from hub.front.heard import note_bye, note_hellos
from hub.front.log import Front, Incoming, Outcome
from hub.front.presence import Presence, status_topic, stored
from hub.settings import Settings
from readings.batch import HEADER, HEADER_BYTES
from readings.errors import Retry, Stop
from readings.messages import BadMessage, Bye, Down, Hello, down_topic, read_hello, seal

log = logging.getLogger(__name__)

Keys = Callable[[str], tuple[bytes, int] | None]
"""A gateway's (key, version); None refuses it: unknown or revoked."""
KEEPALIVE_S = 10
"""A frozen member of a share group costs a resend; the broker notices it within 15 s."""
RECEIVE_MAXIMUM = 500
QUEUED = 4 * RECEIVE_MAXIMUM
"""More than the broker sends unacked: only a flood of QoS 0 can fill it."""
COMMIT_MESSAGES = 256
COMMIT_BYTES = 4 << 20
IDLE_S = 0.5
LOOK_S = 60.0
LONGEST_PAUSE_S = 5.0


class Came(Struct, frozen=True):
    """A message of a gateway. `ack()` lets the broker forget it."""

    gateway: str
    hello: bool
    payload: bytes
    received_ms: int
    ack: Callable[[], None]


class Bridge:
    """Runs for ever, whatever the broker and the database do; `state` says how they are."""

    def __init__(self, settings: Settings, database: Database, keys: Keys) -> None:
        self.front = Front(database, backup_max_age_s=settings.backup_max_age)
        self.counters = {"messages": 0, "hellos": 0, "bad_hellos": 0, "unknown_gateways": 0, "overflows": 0, "errors": 0}
        self._settings = settings
        self._database = database
        self._keys = keys
        self._queue: queue.Queue[Came] = queue.Queue(QUEUED)
        self._presence = Presence()
        self._client: Client | None = None
        self._account: Account | None = None
        self._broker_why = "not started"
        self._database_why = ""
        self._renew = threading.Event()
        self._steady = clock.Steady()
        self._hidden: set[str] = set()

    def run(self, stop: threading.Event) -> None:
        """Until `stop` is set. This thread is the writer."""
        self._retrying(self._database.take, stop)
        self._retrying(self._remember, stop)
        looked = copied = 0.0
        while not stop.is_set():
            if time.monotonic() - looked > 1:
                looked = time.monotonic()
                self._look()
                self._connect()
            if time.monotonic() - copied > LOOK_S:
                copied = time.monotonic()
                self._copy()
                self._retrying(self._hide, stop)
                for gateway, payload in self._presence.silent(_now_ms()):
                    self._tell(gateway, payload)
            if self._renew.is_set():
                self._renew.clear()
                for gateway, payload in self._presence.all():
                    self._tell(gateway, payload)
            if came := self._drain():
                self._retrying(lambda items=came: self._handle(items), stop)  # type: ignore[misc]
                for item in came:
                    item.ack()
        if self._client is not None:
            self._client.stop()
        self._broker_why = "stopped"

    def state(self) -> dict[str, Any]:
        """For /ready: `ok`, `why` (of what is not), and what there is to know."""
        broker = "" if self._client is not None and self._client.connected else self._broker_why
        why = "; ".join(filter(None, (broker and f"broker: {broker}", self._database_why and f"database: {self._database_why}")))
        url = self._account.url if self._account else self._settings.mqtt_url
        return {"ok": not why, "why": why, "broker": url, "queued": self._queue.qsize(), **self.counters, **self.front.counters}

    # ---- the network thread

    def _came(self, topic: str, payload: bytes, ack: Callable[[], None]) -> None:
        parts = topic.split("/")
        if len(parts) != 3 or parts[0] != "gw" or parts[2] not in ("up", "hello"):
            ack()
            return
        try:
            self._queue.put_nowait(Came(parts[1], parts[2] == "hello", payload, _now_ms(), ack))
        except queue.Full:
            self.counters["overflows"] += 1
            ack()  # the gateway sends it again, since we do not ack it there

    def _lost(self, why: str) -> None:
        if why != self._broker_why:
            log.warning("bridge: broker away why=%r", why)
        self._broker_why = why

    def _connected(self) -> None:
        self._broker_why = ""
        self._renew.set()

    # ---- the writer thread

    def _look(self) -> None:
        """A file put in the database's place takes a new process: nobody here may go on with what he knows of the old one."""
        if self._database.replaced():
            raise Retry("another file was put in its place", what="database", hint="start the hub again")

    def _connect(self) -> None:
        """Opens the client, anew when the account has changed: `harmattan-hub broker` may write it while we run."""
        try:
            account = broker_account(self._settings)
        except Stop as error:
            self._broker_why = str(error)
            return
        if account == self._account:
            return
        if self._client is not None:
            self._client.stop()
        self._account = account
        self._broker_why = "connecting"
        self._client = Client(
            account.url,
            client_id=f"hub-bridge-{secrets.token_hex(4)}",
            username=account.user,
            password=account.password,
            keepalive_s=KEEPALIVE_S,
            manual_ack=True,
            receive_maximum=RECEIVE_MAXIMUM,
            on_connected=self._connected,
            on_disconnected=self._lost,
            on_message=self._came,
        )
        share = "$share/hub/" if self._database.dialect == "postgresql" else ""
        self._client.subscribe([(f"{share}gw/+/up", 1), (f"{share}gw/+/hello", 1)])
        self._client.start()

    def _remember(self) -> None:
        """What was known of the gateways before this start."""
        with self._database.read() as connection:
            self._presence.remember(stored(connection), _now_ms())
        self._hide()

    def _hide(self) -> None:
        """Whose sensors nobody may hear of is told of to nobody; what was told before is taken back."""
        with self._database.read() as connection:
            before, self._hidden = self._hidden, hidden_gateways(connection)
        for gateway in sorted(self._hidden - before):
            if self._client is not None and self._presence.knows(gateway):
                self._client.publish(status_topic(gateway), b"", 1, retain=True)

    def _copy(self) -> None:
        """A copy of what is held, once a day, while the clock can be trusted with its date."""
        if self._steady.look(_now_ms(), clock.steady_ms(), clock.synced()):
            with contextlib.suppress(DatabaseAway):  # a minute later
                self.front.copies.make(_now_ms)

    def _drain(self) -> list[Came]:
        """What shares the next commit: all that is queued, up to a bound; waits a little for the first."""
        came: list[Came] = []
        size = 0
        try:
            came.append(self._queue.get(timeout=IDLE_S))
            while len(came) < COMMIT_MESSAGES and size < COMMIT_BYTES:
                size += len(came[-1].payload)
                came.append(self._queue.get_nowait())
        except queue.Empty:
            pass
        return came

    def _retrying(self, work: Callable[[], None], stop: threading.Event) -> None:
        """Does the work until it is done: an absent database costs time, not messages."""
        pause_s = 0.05
        while not stop.is_set():
            try:
                work()
            except DatabaseAway as error:
                if not self._database_why:
                    log.warning("bridge: database away why=%r", error.why)
                self._database_why = error.why
                stop.wait(pause_s)
                pause_s = min(LONGEST_PAUSE_S, pause_s * 2)
            except Exception as error:  # outermost loop: messages that break us must not stop the others
                self.counters["errors"] += 1
                log.exception("bridge: messages left unacked why=%r", str(error))
                return
            else:
                if self._database_why:
                    log.info("bridge: database back")
                self._database_why = ""
                return

    def _handle(self, came: Sequence[Came]) -> None:
        """Stores messages, then answers hellos, which so tell of what came just before. Raises DatabaseAway."""
        keys = {gateway: self._keys(gateway) for gateway in sorted({item.gateway for item in came})}
        known = [(item, key) for item in came if (key := keys[item.gateway])]
        self.counters["unknown_gateways"] += len(came) - len(known)
        ups = [(item, key) for item, key in known if not item.hello]
        if ups:
            self.counters["messages"] += len(ups)
            outcomes = self.front.store([Incoming(i.gateway, i.payload, i.received_ms) for i, _ in ups])
            for (item, key), outcome in zip(ups, outcomes, strict=True):
                self._ack(item, key, outcome)
        self._answer([(item, key, hello) for item, key in known if item.hello and (hello := self._read(item))])

    def _ack(self, item: Came, key: tuple[bytes, int], outcome: Outcome) -> None:
        if outcome.ack is not None:
            self._send(item.gateway, key, outcome.ack)
            rows = HEADER.unpack_from(item.payload)[5] if len(item.payload) >= HEADER_BYTES else 0
            self._tell(item.gateway, self._presence.data(item.gateway, rows if outcome.what == "stored" else 0, item.received_ms))
        elif outcome.what == "refused":
            log.warning("bridge: message refused gateway=%s why=%r", item.gateway, outcome.why)

    def _read(self, item: Came) -> Hello | None:
        try:
            hello = read_hello(item.payload)
        except BadMessage as error:
            self.counters["bad_hellos"] += 1
            log.warning("bridge: bad hello gateway=%s why=%r", item.gateway, error.why)
            return None
        if isinstance(hello, Bye):
            self._tell(item.gateway, self._presence.bye(item.gateway, item.received_ms))
            note_bye(self._database, item.gateway, item.received_ms)
            return None
        return hello

    def _answer(self, hellos: Sequence[tuple[Came, tuple[bytes, int], Hello]]) -> None:
        if not hellos:
            return
        self.counters["hellos"] += len(hellos)
        answers = self.front.answers([(item.gateway, hello) for item, _, hello in hellos])
        for (item, key, hello), answer in zip(hellos, answers, strict=True):
            if answer is not None:
                self._send(item.gateway, key, answer)
                self._tell(item.gateway, self._presence.hello(item.gateway, hello.pending, item.received_ms))
        heard = [(item.gateway, hello, item.received_ms) for (item, _, hello), told in zip(hellos, answers, strict=True) if told]
        note_hellos(self._database, heard)

    def _send(self, gateway: str, key: tuple[bytes, int], message: Down) -> None:
        """QoS 0: a lost one costs a resend."""
        topic = down_topic(gateway)
        if self._client is not None:
            self._client.publish(topic, seal(message, topic=topic, key=key[0], key_version=key[1]))

    def _tell(self, gateway: str, status: bytes | None) -> None:
        if status is not None and self._client is not None and gateway not in self._hidden:
            self._client.publish(status_topic(gateway), status, 1, retain=True)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
