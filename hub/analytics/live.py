"""The tail of `ready` in; server-sent events out, one per sample, to everybody who listens.

One thread a process reads the log as it grows, for as long as somebody listens, and makes each event's text once. An event's id
is `<ready id>.<index>`: with it a listener goes on where it was, at most 24 h back; else it is told to `reset`. A listener that
was too slow, or came while the tail slept, reads what it missed from the log by itself.
"""

import asyncio
import logging
import re
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from time import monotonic, time_ns

import msgspec
from msgspec import Struct
from sqlalchemy import select

from hub.auth.rights import member
from hub.auth.tokens import Caller
from hub.database.engine import Database
from hub.database.tables import deployment, gateway, network, sensor, station
from hub.fleet.visibility import END_MS, FIRST_MS, PRIVATE, changes
from hub.followers.reader import Entry, Reader
from hub.front import cursor
from hub.front.decoded import Decoded
from hub.problems import Problem
from hub.store.values import values_of
from readings.errors import Trouble

log = logging.getLogger(__name__)
HEARTBEAT_S = 15.0
OLDEST_MS = 24 * 3600 * 1000
LOOK_S = 1.0
PLACES_KEPT_S = 10.0
RENEWED_S = 5.0
"""So long a listener may be sent what is for members only after their session, key or membership has ended."""
MOST_LISTENERS = 1000
MOST_WAITING = 100
"""So many pieces may wait for a slow listener."""
KEPT_ROWS = 10_000
Renew = Callable[[], Caller | None]
EVENT_ID = re.compile(r"(\d{1,18})\.(\d{1,9})")
RESET, HEARTBEAT, BEGIN = b"event: reset\ndata: {}\n\n", b": still here\n\n", b"retry: 2000\n\n"


class Place(Struct, frozen=True):
    """Where a sensor stood [from, to), and who may see it at once: `members`, where the place is private or under embargo."""

    name: str
    station: int
    network: int
    members: bool
    from_ms: int
    to_ms: int


class Event(Struct, frozen=True):
    """One sample as it goes over the wire."""

    ready: int
    index: int
    place: Place
    text: bytes


class Piece(Struct, frozen=True):
    """What the tail read between two places of the log."""

    before: int
    events: Sequence[Event]
    after: int


class Listener:
    """One who listens: to which stations (None: all), as whom; nothing up to and with the event `floor`.

    `renew` says who they are by now; it raises Problem when what they came with is over. Nobody stays nobody.
    """

    def __init__(
        self, caller: Caller | None, stations: frozenset[int] | None, renew: Renew | None = None, renewed_s: float = RENEWED_S
    ) -> None:
        self._caller = caller
        self._stations = stations
        self._renew, self._renewed_s = renew, renewed_s
        self._asked = monotonic()
        self.floor = (0, 0)
        self.waiting: asyncio.Queue[Piece | None] = asyncio.Queue(MOST_WAITING)

    async def over(self) -> bool:
        """Whether their time is over; asks anew who they are, at most every few seconds."""
        if self._renew is None or monotonic() - self._asked < self._renewed_s:
            return False
        try:
            self._caller = await asyncio.to_thread(self._renew)
        except Problem:
            return True
        except Trouble as error:
            log.warning("live cannot ask who listens why=%r", error.why)  # nor is there anything to send
        self._asked = monotonic()
        return False

    def wants(self, event: Event) -> bool:
        place = event.place
        if (event.ready, event.index) <= self.floor or (self._stations is not None and place.station not in self._stations):
            return False
        return not place.members or member(self._caller, place.network)

    def text(self, events: Sequence[Event]) -> bytes:
        return b"".join(event.text for event in events if self.wants(event))

    def put(self, piece: Piece | None) -> None:
        """One too many is left out: the next piece shows the gap, and the listener reads it from the log."""
        if not self.waiting.full():
            self.waiting.put_nowait(piece)


class Live:
    """The tail and its listeners. Everything but the tail's thread runs in the event loop."""

    def __init__(self, database: Database, now_ms: Callable[[], int] = lambda: time_ns() // 1_000_000) -> None:
        self._database = database
        self._now_ms = now_ms
        self._reader = Reader(database, Decoded(KEPT_ROWS))
        self._reading = threading.Lock()
        self._places: dict[int, list[Place]] = {}
        self._places_until = 0.0
        self._places_of: tuple[int, int] | None = None
        self._listeners: set[Listener] = set()
        self._position = 0
        self._stop = threading.Event()
        self._tail: threading.Thread | None = None

    def close(self) -> None:
        """Ends every stream. In the event loop."""
        self._stop.set()
        self._database.bell.ring()
        for listener in self._listeners:
            listener.put(None)

    @property
    def full(self) -> bool:
        """Whether no further listener is taken."""
        return len(self._listeners) >= MOST_LISTENERS

    async def events(
        self,
        caller: Caller | None,
        stations: frozenset[int] | None,
        last_id: str | None,
        heartbeat_s: float = HEARTBEAT_S,
        renew: Renew | None = None,
        renewed_s: float = RENEWED_S,
    ) -> AsyncIterator[bytes]:
        """What goes to one listener, until it goes away, its caller's time is over or the hub ends."""
        listener = Listener(caller, stations, renew, renewed_s)
        await self._begin()
        self._listeners.add(listener)
        try:
            yield BEGIN
            position = self._position
            if last_id is not None:
                found = await asyncio.to_thread(self._reachable, last_id)
                if found is None:
                    yield RESET
                else:
                    listener.floor, position = found, found[0] - 1
            piece: Piece | None = Piece(self._position, (), self._position)
            while piece is not None and not self._stop.is_set() and not await listener.over():
                while position < piece.before:
                    position, missed = await asyncio.to_thread(self._read, position, piece.before)
                    if text := listener.text(missed):
                        yield text
                if text := listener.text([event for event in piece.events if event.ready > position]):
                    yield text
                position = max(position, piece.after)
                try:
                    piece = await asyncio.wait_for(listener.waiting.get(), heartbeat_s)
                except TimeoutError:
                    yield HEARTBEAT
                    piece = Piece(self._position, (), self._position)
        finally:
            self._listeners.discard(listener)

    async def _begin(self) -> None:
        """The tail runs, and stands at the log's end if nobody listened."""
        if self._tail is None or not self._tail.is_alive():
            self._position = await asyncio.to_thread(self._newest)
            loop = asyncio.get_running_loop()
            self._tail = threading.Thread(target=self._follow, args=(loop,), name="live", daemon=True)
            self._tail.start()

    def _follow(self, loop: asyncio.AbstractEventLoop) -> None:
        """The tail's thread: reads on while somebody listens, else only keeps its place at the end."""
        position = self._position
        while not self._stop.is_set():
            seen = self._database.bell.rung
            try:
                before, events = position, list[Event]()
                if self._listeners:
                    position, events = self._read(position)
                else:
                    position = self._newest()
                loop.call_soon_threadsafe(self._deliver, Piece(before, events, position))
                if position == before:
                    self._database.bell.wait(seen, LOOK_S)
            except Trouble as error:
                log.warning("live waits why=%r", error.why)
                self._stop.wait(LOOK_S)
            except RuntimeError:
                return  # the event loop has ended

    def _deliver(self, piece: Piece) -> None:
        self._position = piece.after
        if piece.events:
            for listener in self._listeners:
                listener.put(piece)

    def _newest(self) -> int:
        with self._database.read() as connection:
            return cursor.newest_ready(connection)

    def _reachable(self, last_id: str) -> tuple[int, int] | None:
        """An event id as numbers, if it is one that was given out in the last 24 h."""
        found = EVENT_ID.fullmatch(last_id.strip())
        if found is None:
            return None
        ask = self._database.sql("SELECT b.received_ms FROM ready r JOIN batch b ON b.id = r.batch WHERE r.id = ?")
        with self._database.read() as connection:
            received = connection.exec_driver_sql(ask, (int(found[1]),)).scalar()
        if received is None or received < self._now_ms() - OLDEST_MS:
            return None
        return int(found[1]), int(found[2])

    def _read(self, position: int, upto: int | None = None) -> tuple[int, list[Event]]:
        """The next entries' events, and the place behind them; the end itself when there are none."""
        with self._reading:
            with self._database.read() as connection:
                entries = self._reader.after(connection, position, upto=upto)
                if entries and (now := changes(connection)) != self._places_of:
                    self._places, self._places_of = {}, now
            if not entries:
                return (position if upto is None else upto), []
            return entries[-1].id, [event for entry in entries for event in self._events(entry)]

    def _events(self, entry: Entry) -> list[Event]:
        try:
            samples = entry.samples()
        except (ValueError, OverflowError) as error:
            log.warning("live leaves out ready=%d why=%r", entry.id, str(error))
            return []
        channels = {known.id: [(c.parameter, c.unit) for c in known.content.channels] for known, _ in entry.sample_blocks()}
        events = []
        for index, row in enumerate(samples):
            place = self._place(row.sensor, row.time_ms)
            if place is not None:
                said = msgspec.json.encode(values_of(row.time_ms, channels[row.schema], row.body, row.flags))
                head = f'{{"station":{place.station},"sensor":{row.sensor},"name":"{place.name}",'
                text = b"id: %d.%d\nevent: sample\ndata: %s%s\n\n" % (entry.id, index, head.encode(), said[1:])
                events.append(Event(entry.id, index, place, text))
        return events

    def _place(self, sensor_id: int, time_ms: int) -> Place | None:
        """Where a sensor stood at a time."""
        if monotonic() > self._places_until or sensor_id not in self._places:
            self._places = self._all_places()
            self._places_until = monotonic() + PLACES_KEPT_S
        return next((place for place in self._places.get(sensor_id, ()) if place.from_ms <= time_ms < place.to_ms), None)

    def _all_places(self) -> dict[int, list[Place]]:
        """Of each sensor where it stood, the newest first. Before its first place it stood there too."""
        private = (station.c.visibility == PRIVATE).label("private")
        asked = (
            select(sensor.c.id, gateway.c.name, sensor.c.local_id, deployment, station.c.network, private, network.c.embargo_s)
            .join(deployment, deployment.c.sensor == sensor.c.id)
            .join(station, station.c.id == deployment.c.station)
            .join(network, network.c.id == station.c.network)
            .join(gateway, gateway.c.id == sensor.c.gateway)
            .order_by(sensor.c.id, deployment.c.from_ms)
        )
        found: dict[int, list[Place]] = {}
        with self._database.read() as connection:
            for row in connection.execute(asked):
                from_ms = row.from_ms if row.id in found else FIRST_MS
                to_ms = END_MS if row.to_ms is None else row.to_ms
                members = bool(row.private or row.embargo_s > 0)
                place = Place(f"{row.name}/{row.local_id}", row.station, row.network, members, from_ms, to_ms)
                found.setdefault(row.id, []).insert(0, place)
        return found
