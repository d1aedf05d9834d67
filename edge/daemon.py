"""A configuration in; sensors polled, rows on the card, rows at the hub: the stages in order, started, turned and stopped.

One core thread owns outbox, ledger and uplink and reads one inbox. Port threads, the MQTT thread and signals only post into it;
the control socket's threads only read the board.
"""

import logging
import queue
import signal
import threading
import time
from typing import Any

import msgspec
from msgspec import Struct

from edge.board import Board, Figures
from edge.config import Config, Credential, SensorConfig, load_credential
from edge.control import Counted, LinkState, Server
from edge.eviction import May, may_drop
from edge.health import Clock, Supervisor, disk
from edge.outbox import Anchor, Damaged, Event, Outbox, Refused, StorageFailed
from edge.poll import Polled, PortWorker, Post
from edge.quality import Hints
from edge.rescue import Part, Rescue, damaged_files
from edge.uplink import BYE, Dial, Ears, Line, Uplink, UplinkState
from readings.errors import Trouble
from readings.messages import hello_topic
from readings.sample import Schema

log = logging.getLogger("edge.daemon")

STACK_BYTES = 256 * 1024
"""Of each thread: a dozen of them would reserve 100 MB at the default."""
COMMIT_AT_MOST_S = 60.0
FIRST_COMMIT_S = 1.0
"""The first samples after a start are committed so soon, for the person who watches."""
LOOK_S = 5.0
PUBLISH_S = 0.2
IDLE_PUBLISH_S = 2.0
JOIN_S = 3.0
LISTEN_S = 1.0
INBOX_MOST = 50_000
"""Answers that may wait for a core that hangs in a slow disk; more are dropped and counted."""


class _Stop(Struct, frozen=True):
    why: str


class _Refusal(Struct, frozen=True):
    """Since when and why the card takes no commits; how many items had been dropped before."""

    since_s: float
    why: str
    dropped: int


class Daemon:
    """`run` returns 0 when it was told to stop. Raises Stop (exit 2) and Retry (exit 75): a person or the supervisor goes on."""

    def __init__(self, config: Config, credential: Credential | None, *, version: str) -> None:
        self.config = config
        self.version = version
        self._enrolled = credential
        self._inbox: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._board = Board(config.gateway, version, [sensor.id for sensor in config.sensors])
        self._control = Server(config.control, snapshot=self._board.snapshot, recent=self._board.recent)
        self._clock = Clock()
        self._supervisor = Supervisor()
        self._commit_every_s = min(config.link.flush_s, COMMIT_AT_MOST_S)
        self._workers: list[PortWorker] = []
        self._schemas: dict[str, Schema] = {}
        self._outbox: Outbox
        self._rescue: Rescue
        self._anchored = False
        self._alarms: tuple[str, ...] = ()
        self._begun_s = time.monotonic()
        self._uplink: Uplink | None = None
        self._not_linked = LinkState("none" if config.hub is None else "not_enrolled", self._clock.moment().wall_ms)
        self._refusal: _Refusal | None = None
        self._dropped_frames: dict[tuple[str, str], int] = {}
        self._overflow = 0
        self._first_sample = True
        self._dirty = True
        self._stopping = False
        self._commit_s = self._look_s = self._publish_s = self._uplink_s = 0.0

    def stop(self, why: str = "asked") -> None:
        """From any thread, also from a signal's handler."""
        self._inbox.put(_Stop(why))

    def run(self) -> int:
        """Blocks until stopped."""
        self._outbox = Outbox.open(self.config.store.path, quota_bytes=self.config.store.quota_bytes)
        self._outbox.may_leave = self._may_leave
        self._begun_s = time.monotonic()
        self._rescue = Rescue(self._outbox, self._inbox.put, self._clock.moment)
        if damaged_files(self.config.store.path):
            self._alarms = ("card_damaged",)
        try:
            self._own_the_process()
            self._control.start()
            self._start()
            while not self._stopping:
                self._turn()
            self._end()
        except StorageFailed as failed:
            log.critical("storage failed why=%r", failed.why)
            self._outbox.fail()
            raise
        finally:
            self._let_go()
        return 0

    # ---- start and end

    def _start(self) -> None:
        ports: dict[str, list[Post]] = {}
        for sensor in self.config.sensors:
            ports.setdefault(sensor.address.port_key, []).append(self._post_of(sensor))
        self._link()
        self._begin()
        self._workers = [PortWorker(key, posts, post=self._polled_in, clock=self._clock) for key, posts in ports.items()]
        for worker in self._workers:
            worker.start()
        log.info(
            "started gateway=%s version=%s sensors=%d ports=%d", self.config.gateway, self.version, len(self._schemas), len(ports)
        )
        self._supervisor.ready()

    def _post_of(self, sensor: SensorConfig) -> Post:
        from adapters.sensor import open_sensor  # here, so that `check` and `status` load no transport

        opened = open_sensor(sensor.profile, sensor.address, sensor_id=sensor.id, every_s=sensor.every_s, reduce=sensor.reduce)
        self._schemas[sensor.id] = opened.schema
        hints = Hints(sensor.profile, self.config.quality)
        if sensor.address.kind == "listen":  # waits for posts all the time, each becomes a sample
            return Post(sensor.id, opened, LISTEN_S, LISTEN_S, hints.flagged)
        return Post(sensor.id, opened, sensor.every_s, sensor.profile.link.reply_timeout_s, hints.flagged, opened.lead_s)

    def _begin(self) -> None:
        """A new stream: its start row and schemas, committed at once, because the hello waits for them."""
        site: dict[str, Any] = msgspec.to_builtins(self.config.site)
        self._outbox.begin(self.version, site, self._clock.moment(), list(self._schemas.values()))
        self._anchor()
        self._commit(time.monotonic())
        self._rescue.look()

    def _end(self) -> None:
        """What still waits becomes rows. Threads that do not end in time are left behind."""
        self._supervisor.stopping()
        for worker in self._workers:
            worker.stop()
        until_s = time.monotonic() + JOIN_S
        late = [worker.port for worker in self._workers if not worker.join(until_s - time.monotonic())]
        if late:
            log.warning("ports left behind ports=%s", ",".join(late))
        while not self._inbox.empty():
            self._take(self._inbox.get(), time.monotonic())
        self._commit(time.monotonic())
        if self._uplink is not None:
            self._uplink.stop(bye=True)
        log.info("stopped gateway=%s", self.config.gateway)

    def _let_go(self) -> None:
        for worker in self._workers:
            worker.stop()
        self._rescue.stop()
        if self._uplink is not None:
            self._uplink.stop()
        self._control.stop()
        self._outbox.close()

    def _own_the_process(self) -> None:
        """Signals and the threads' stacks, unless the daemon runs inside another program."""
        if threading.current_thread() is threading.main_thread():
            threading.stack_size(STACK_BYTES)
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda got, _: self.stop(signal.Signals(got).name))

    # ---- the core

    def _turn(self) -> None:
        """Wait for the next thing, take all that is there, do what is due."""
        try:
            self._wait()
            now_s = time.monotonic()
            if now_s >= self._commit_s:
                self._commit(now_s)
            if now_s >= self._look_s:
                self._look(now_s)
            self._step(now_s)
            self._publish(now_s)
            self._supervisor.alive(now_s)
        except Damaged as damaged:
            self._renew(damaged.why)

    def _wait(self) -> None:
        due_s = min(self._commit_s, self._look_s, self._publish_s + (PUBLISH_S if self._dirty else IDLE_PUBLISH_S))
        if self._uplink is not None:
            due_s = min(due_s, self._uplink_s)
        try:
            item = self._inbox.get(timeout=max(0.0, due_s - time.monotonic()))
            for _ in range(1000):
                self._take(item, time.monotonic())
                item = self._inbox.get_nowait()
            self._take(item, time.monotonic())
        except queue.Empty:
            pass

    def _take(self, item: object, now_s: float) -> None:
        self._dirty = True
        if isinstance(item, Polled):
            self._polled(item, now_s)
        elif isinstance(item, _Stop):
            log.info("stopping why=%s", item.why)
            self._stopping = True
        elif isinstance(item, Part):
            self._rescue.take(item)
        elif self._uplink is not None:
            self._uplink.handle(item, now_s)

    def _polled_in(self, polled: Polled) -> None:
        """From the port threads. Never blocks: a slow disk must not delay a sensor."""
        if self._inbox.qsize() < INBOX_MOST:
            self._inbox.put(polled)
        else:
            self._overflow += 1

    def _polled(self, polled: Polled, now_s: float) -> None:
        before = self._board.state(polled.sensor)
        if polled.state != before and (before, polled.state) != ("starting", "ok"):
            level = logging.INFO if polled.state in ("ok", "warming_up") else logging.WARNING
            log.log(level, "sensor state sensor=%s state=%s before=%s why=%r", polled.sensor, polled.state, before, polled.why)
            self._outbox.put(Event("sensor_state", polled.at, {"state": polled.state, "why": polled.why}, polled.sensor))
        self._count_frames(polled)
        if polled.sample is None or polled.schema is None:
            self._board.failed(polled)
            return
        if polled.schema != self._schemas.get(polled.sensor):
            log.info("schema changed sensor=%s firmware=%r", polled.sensor, polled.schema.firmware)
            self._schemas[polled.sensor] = polled.schema
            self._outbox.put(polled.schema, polled.at)
        self._outbox.put(polled.sample)
        self._board.answered(polled.schema, polled.sample)
        if self._first_sample:
            self._first_sample = False
            self._commit_s = min(self._commit_s, now_s + FIRST_COMMIT_S)

    def _count_frames(self, polled: Polled) -> None:
        """Dropped frames are told at the 1st, 10th, 100th, ... of their kind."""
        for fault, more in polled.counted.items():
            key = (polled.sensor, fault)
            total = self._dropped_frames.get(key, 0) + more
            if more and (total == more or len(str(total)) > len(str(total - more))):
                log.warning("frames dropped sensor=%s fault=%s total=%d", polled.sensor, fault, total)
            self._dropped_frames[key] = total

    # ---- the card

    def _commit(self, now_s: float) -> None:
        """One transaction over all that waits; a refusal is told once, and again when it is over."""
        self._commit_s = now_s + self._commit_every_s
        self._dirty = True
        try:
            done = self._outbox.commit()
        except Refused as refused:
            if self._refusal is None:
                log.error("commits refused why=%r waiting=%d", refused.why, self._outbox.waiting)
                self._refusal = _Refusal(now_s, refused.why, self._outbox.dropped)
            if self._uplink is not None:
                self._uplink.refused()
            return
        if self._refusal is not None:
            self._recovered(self._refusal, now_s)
        if done is not None and self._uplink is not None:
            self._uplink.committed(done.lo, done.hi, urgent=False, now_s=now_s)
            self._uplink.left(done.gone, done.found)
            self._uplink_s = now_s
        self._rescue.again()

    def _recovered(self, refusal: _Refusal, now_s: float) -> None:
        lasted_s, dropped = round(now_s - refusal.since_s, 1), self._outbox.dropped - refusal.dropped
        log.warning("commits taken again after_s=%s dropped=%d", lasted_s, dropped)
        content = {"why": refusal.why, "for_s": lasted_s, "dropped": dropped}
        self._outbox.put(Event("commits_refused", self._clock.moment(), content))
        self._refusal = None

    def _renew(self, why: str) -> None:
        """The card's file is ruined: a new card, a new stream, a new link."""
        if self._uplink is not None:
            self._uplink.stop()
            self._uplink = None
        self._rescue.stop()
        known, ends = self._outbox.numbers(), dict(self._outbox.book().ends)
        self._outbox, self._anchored = self._outbox.renewed(why), False
        self._rescue = Rescue(self._outbox, self._inbox.put, self._clock.moment)
        self._rescue.remember(known, ends)
        self._alarms = ("card_damaged",)
        self._outbox.put(Event("card_damaged", self._clock.moment(), {"why": why}))
        self._link()
        self._begin()

    def _may_leave(self) -> May:
        """Asked by the outbox when there is no room."""
        ledger = self._uplink.ledger if self._uplink is not None else None
        lived_s = time.monotonic() - self._begun_s
        answered = ledger is not None and ledger.answered_once
        drop = may_drop(self.config.store.when_full, answered=answered, lived_s=lived_s)
        return May(ledger.all_safe() if ledger is not None else {}, drop)

    # ---- time

    def _anchor(self) -> None:
        """Once the kernel says that the clock is right, a row says so for the rows of this boot that could not know."""
        if self._clock.state() == "synced":
            now = self._clock.moment()
            self._anchor_at(Anchor("ntp", now.wall_ms, self._clock.error_ms, now))

    def _hub_time(self, wall_ms: int, error_ms: int) -> None:
        """The hub's answer just now; it is believed where the clock knows nothing."""
        now = self._clock.moment()
        if now.clock != "synced":
            self._anchor_at(Anchor("hub", wall_ms, error_ms, now))

    def _anchor_at(self, anchor: Anchor) -> None:
        """The first of a boot counts, and is never moved."""
        if not self._anchored and self._outbox.anchor(anchor.at.boot) is None:
            log.info("time anchor source=%s error_ms=%d", anchor.source, anchor.error_ms)
            self._outbox.put(anchor)
            self._commit_s = min(self._commit_s, time.monotonic() + FIRST_COMMIT_S)  # the hub holds back rows until it has it
        self._anchored = True

    # ---- the link

    def _link(self) -> None:
        """Start the uplink once there are a credential, perhaps of an enrolment just now, and a card to name."""
        if self.config.hub is None or not self._outbox.card:
            return
        credential = self._enrolled = self._enrolled or load_credential(self.config.hub.credential, self.config.gateway)
        if credential is None:
            return
        link = self.config.link
        self._uplink = Uplink(
            gateway=self.config.gateway,
            brokers=self.config.hub.mqtt,
            key=credential.key,
            flush_s=link.flush_s,
            open_link=link.mode == "open",
            outbox=self._outbox,
            version=self.version,
            dial=_dialler(self.config, credential),
            note=lambda name, content: self._outbox.put(Event(name, self._clock.moment(), content)),
            clock=self._clock.state,
            hub_time=self._hub_time,
        )
        self._uplink.start(self._inbox.put)
        self._uplink_s = 0.0

    def _step(self, now_s: float) -> None:
        if self._uplink is None:
            return
        try:
            self._uplink_s = self._uplink.step(now_s)
        except Refused as refused:
            log.warning("rows not readable why=%r", refused.why)
            self._uplink_s = now_s + LOOK_S

    # ---- now and then

    def _look(self, now_s: float) -> None:
        """Ports that hang; a credential that has come; answers that overflowed; a clock that was set; files to salvage."""
        self._look_s = now_s + LOOK_S
        self._anchor()
        self._rescue.look()
        for worker in self._workers:
            if (stuck := worker.stuck()) is not None and self._board.state(stuck.sensor) != "error":
                why = f"the port has not come back for {stuck.for_s:.0f} s"
                hint = "plug the device in anew, or restart the daemon"
                self._polled(Polled(stuck.sensor, "error", self._clock.moment(), why=why, hint=hint), now_s)
        if self._overflow:
            log.error("answers dropped count=%d why='the core hangs in the disk'", self._overflow)
            self._overflow = 0
        if self._uplink is None and self.config.hub is not None:
            try:
                self._link()
            except Trouble as trouble:
                self._not_linked = msgspec.structs.replace(self._not_linked, why=str(trouble))

    def _publish(self, now_s: float) -> None:
        if now_s < self._publish_s + (PUBLISH_S if self._dirty else IDLE_PUBLISH_S):
            return
        self._publish_s, self._dirty = now_s, False
        rows, octets = self._outbox.size()
        word, why = disk(self.config.store.path.parent)
        if self._refusal is not None:
            word, why = "refused", self._refusal.why
        link, pending = self._not_linked, 0 if self.config.hub is None else rows
        if self._uplink is not None:
            known = self._uplink.state()
            link, pending = _shown(known), known.pending
        link = msgspec.structs.replace(link, alarms=(*link.alarms, *self._alarms))
        counts = self._outbox.book().counts
        counted = Counted(self._outbox.produced(), counts.tombstoned, counts.damaged, self._outbox.dropped)
        self._board.publish(Figures(rows, octets, pending, link, self._clock.state(), word, why, counted))


def _shown(known: UplinkState) -> LinkState:
    return LinkState(known.state, known.since_ms, known.next_try_s, known.why or "", known.alarms)


def _dialler(config: Config, credential: Credential) -> Dial:
    """MQTT clients of this gateway, one for each broker tried."""
    from adapters.transport.mqtt import Client  # paho is loaded only where there is a hub to reach

    def dial(url: str, ears: Ears) -> Line:
        return Client(
            url,
            client_id=config.gateway,
            username=config.gateway,
            password=credential.password,
            keepalive_s=config.link.keepalive_s,
            will=(hello_topic(config.gateway), BYE),
            ca=credential.ca,
            on_connected=ears.connected,
            on_disconnected=ears.disconnected,
            on_message=ears.message,
            on_published=ears.published,
        )

    return dial
