"""Gateways in one process: real outboxes, real state machines, real MQTT clients, one loop. Rows are made in bulk, not polled."""

import logging
import queue
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

from adapters.transport.mqtt import Client
from edge.outbox import Outbox
from edge.uplink import BYE, Dial, Ears, Line, Uplink
from readings.messages import hello_topic
from readings.sample import Channel, Moment, Sample, Schema

PM = Schema("pm", "plantower.pms5003", "ab" * 32, "", tuple(Channel(f"pm{i}", "ug/m3", -1) for i in range(8)))
BOOT = "5f3c2b1a-0000-4000-8000-000000000001"
START_MS = 1_760_000_000_000
FLUSH_S = 1.0


class Key(NamedTuple):
    """What a gateway's credential says."""

    gateway: str
    password: str
    key: bytes


class Station:
    """One gateway. `make` fills its card, `start` brings it online; `watch` sees what it publishes."""

    def __init__(
        self,
        folder: Path,
        key: Key,
        url: str,
        *,
        keepalive_s: int = 30,
        watch: Callable[[str, bytes], None] = lambda topic, payload: None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.key, self.url, self._keepalive_s, self._watch = key, url, keepalive_s, watch
        self.outbox = Outbox.open(folder / "outbox.db", quota_bytes=2 << 30)
        self.outbox.begin("0.1.0", {"name": key.gateway}, self._moment(0), [PM])
        self.made = 0
        self._chance, self._levels = Random(key.gateway), [100 * i for i in range(8)]
        self.started = False
        self._next_s = 0.0
        self.uplink = Uplink(
            gateway=key.gateway,
            brokers=(url,),
            key=key.key,
            flush_s=FLUSH_S,
            open_link=True,
            outbox=self.outbox,
            version="0.1.0",
            dial=self._dial(),
            note=lambda name, content: None,
            clock=lambda: "synced",
        )
        self._commit()

    def make(self, samples: int, *, every_s: int, a_commit: int = 2000) -> None:
        """So many samples, as if one came every so often."""
        for _ in range(samples):
            self.made += 1
            self._levels = [max(0, level + self._chance.randrange(-9, 10)) for level in self._levels]
            self.outbox.put(Sample("pm", self._moment(self.made * every_s), tuple(self._levels), (1,) * 8))
            if self.made % a_commit == 0:
                self._commit()
        self._commit()

    def start(self, post: "Callable[[tuple[Station, object]], None]") -> None:
        self.started = True
        self.uplink.start(lambda event: post((self, event)))

    def fresh(self) -> tuple[str, int]:
        """One more row, now; its identity."""
        self.made += 1
        now_ms = time.time_ns() // 1_000_000
        self.outbox.put(Sample("pm", Moment(BOOT, None, now_ms, "synced"), (1,) * 8, (1,) * 8))
        self._commit()
        stream = self.outbox.stream
        assert stream is not None
        return stream, self.outbox.end(stream)

    def turn(self, now_s: float) -> None:
        if self.started and now_s >= self._next_s:
            self._next_s = min(self.uplink.step(now_s), now_s + 1.0)

    def handle(self, event: object, now_s: float) -> None:
        self.uplink.handle(event, now_s)
        self._next_s = 0.0

    @property
    def pending(self) -> int:
        return self.uplink.state().pending

    def stop(self) -> None:
        self.uplink.stop()
        self.outbox.close()

    def _commit(self) -> None:
        if done := self.outbox.commit():
            self.uplink.committed(done.lo, done.hi, urgent=False, now_s=time.monotonic())
            self._next_s = 0.0

    def _moment(self, second: int) -> Moment:
        return Moment(BOOT, (1000 + second) * 1_000_000_000, START_MS + second * 1000, "synced")

    def _dial(self) -> Dial:
        key, keepalive_s, watch = self.key, self._keepalive_s, self._watch

        class Watched(Client):
            def publish(
                self, topic: str, payload: bytes, qos: int = 0, *, retain: bool = False, expiry_s: int | None = None
            ) -> int | None:
                watch(topic, payload)
                return super().publish(topic, payload, qos, retain=retain, expiry_s=expiry_s)

        def dial(url: str, ears: Ears) -> Line:
            return Watched(
                url, client_id=key.gateway, username=key.gateway, password=key.password, keepalive_s=keepalive_s,
                will=(hello_topic(key.gateway), BYE), on_connected=ears.connected, on_disconnected=ears.disconnected,
                on_message=ears.message, on_published=ears.published,
            )  # fmt: skip

        return dial


class Crowd:
    """All stations, turned by one loop."""

    def __init__(self, stations: list[Station]) -> None:
        self.stations = stations
        self._inbox: queue.SimpleQueue[tuple[Station, object]] = queue.SimpleQueue()
        logging.getLogger("edge").setLevel(logging.ERROR)

    def start(self) -> None:
        for station in self.stations:
            station.start(self._inbox.put)

    def run(self, done: Callable[[], bool], timeout_s: float) -> float:
        """Turns until `done` (asked twice a second); the seconds it took. Raises TimeoutError."""
        begun = asked = time.monotonic()
        while True:
            now_s = time.monotonic()
            if now_s - asked > 0.5:
                asked = now_s
                if done():
                    return now_s - begun
                if now_s - begun > timeout_s:
                    raise TimeoutError(f"not within {timeout_s:g} s; pending {sum(s.pending for s in self.stations)}")
            self._take()
            for station in self.stations:
                station.turn(now_s)

    def stop(self) -> None:
        for station in self.stations:
            station.stop()

    def _take(self) -> None:
        try:
            station, event = self._inbox.get(timeout=0.02)
            while True:
                station.handle(event, time.monotonic())
                station, event = self._inbox.get_nowait()
        except queue.Empty:
            return
