"""How one sensor's answers come: asked for, listened to, fetched or replayed. A transport and a decoder in, good readings out.

Each `hear` counts what it drops and raises what a poll without a good answer has seen, as one of the states of transport.base.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from adapters.decode import Fault, Reading, Result, StreamDecoder
from adapters.decode.jsonpath import JsonDecoder
from adapters.decode.modbus import Block, Request
from adapters.decode.registers import RegisterDecoder
from adapters.profile import Command
from adapters.transport.base import (
    Address,
    Chunk,
    DeviceError,
    Garbage,
    Line,
    NoData,
    NothingNew,
    Overdue,
    Refused,
    Unanswered,
    WarmingUp,
    boottime_ns,
)
from readings.errors import Trouble

if TYPE_CHECKING:
    from adapters.transport.listen import Door
    from adapters.transport.replay import Replay

LISTEN_S = 0.5
MAX_HEARD = 4096
REPORTS = ("device_error", "api_error")
KEPT_FRAMES = 10_000
"""Frames that a mean may be made of; 2 h of a sensor that sends every 0.8 s."""
LINE_HINT = "is it the device that its profile says, with these line settings?"
JSON_HINT = "is it the device that its profile says, and the path in `at:` right?"
BEHIND_THE_BRIDGE = ("modbus_exception:10", "modbus_exception:11")
"""Gateway path unavailable, target device failed to respond (Modbus application protocol V1.1b3, section 7)."""
_WAITS: Mapping[str, type[WarmingUp] | type[NoData]] = {"warming_up": WarmingUp, "no_data": NoData, "no_fix": NoData}


class Heard(Struct, frozen=True):
    """Good readings of one poll, the last one's arrival and its bytes."""

    readings: Sequence[Reading]
    arrived_ns: int
    raw: bytes


class Source(Protocol):
    """How answers come: asked for, listened to, fetched, replayed. `hear` counts what it drops."""

    def open(self) -> None: ...

    def close(self) -> None: ...

    def hear(self, deadline_s: float, counted: Counter[str]) -> Heard: ...


def _sort(results: Sequence[Result], counted: Counter[str]) -> tuple[list[Reading], Fault | None]:
    """The readings, and the last fault after them; faults are counted."""
    good: list[Reading] = []
    last: Fault | None = None
    for result in results:
        if isinstance(result, Reading):
            good.append(result)
            last = None
        elif result.code != "ack":
            counted[result.code] += 1
            last = result
    return good, last


def _trouble(fault: Fault | None, raw: bytes, what: str) -> Trouble:
    """What a poll without a good answer has seen."""
    if fault is not None and fault.code in _WAITS:
        return _WAITS[fault.code](fault.code.replace("_", " "), what=what)
    if fault is not None and fault.code.startswith(REPORTS):
        return DeviceError(f"it reports {fault.code}", what=what, hint="look the code up in its manual; switch it off and on")
    if fault is not None and fault.code in BEHIND_THE_BRIDGE:
        return Unanswered(f"the bridge reaches no device ({fault.code})", what=what, hint="is the unit number right, and it on?")
    if fault is not None and fault.code.startswith("modbus_exception"):
        return Refused(
            f"the device answers {fault.code}", what=what, hint="does it have these registers? look at profile and unit"
        )
    if fault is not None:
        why = f"no good answer: {fault.code}{f', {fault.detail}' if fault.detail else ''}"
        hint = JSON_HINT if fault.code in ("not_json", "schema_mismatch") else LINE_HINT
        return Garbage(why, what=what, code=fault.code, hint=hint)
    if raw:
        return Garbage(f"{len(raw)} bytes without a frame", what=what, code="bad_header", hint=LINE_HINT)
    return Unanswered("kept silent", what=what, hint="is it on, and are its two data lines the right way round?")


def obey(line: Line, command: Command) -> None:
    """Sends a command and waits for the answer that it should bring. Raises Unanswered, DeviceError."""
    line.flush()
    line.write(command.data)
    heard, deadline = b"", time.monotonic() + command.timeout_s
    while command.answer and command.answer not in heard:
        if command.refused and heard.find(command.refused) >= 0:
            raise DeviceError(f"refuses the command {command.data.hex(' ')}", what="sensor", hint="switch it off and on")
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            why = f"does not answer the command {command.data.hex(' ')}" + (f", it says {heard[-16:].hex(' ')}" if heard else "")
            raise Unanswered(why, what="sensor", hint="is it on, and are its two data lines the right way round?")
        chunk = line.read(min(left_s, LISTEN_S))
        heard = (heard + chunk.data)[-MAX_HEARD:] if chunk else heard
    pause(command.pause_s)


def pause(for_s: float) -> None:
    """The device is left alone; this thread is its port's own."""
    if for_s > 0:
        time.sleep(for_s)


class Asked:
    """Flush, ask, the first frame after it. Asked once more when nothing at all came in time."""

    def __init__(self, heard: StreamDecoder, line: Line, asks: Sequence[Command]) -> None:
        self._decoder, self._line, self._asks = heard, line, asks
        self.open, self.close = line.open, line.close

    def hear(self, deadline_s: float, counted: Counter[str]) -> Heard:
        """Several questions are asked one after the other; what they bring is one sample, and some of it may be missing."""
        deadline = time.monotonic() + deadline_s
        parts: list[Heard] = []
        trouble: Trouble | None = None
        for left, command in zip(range(len(self._asks), 0, -1), self._asks, strict=True):
            if command.answer:
                obey(self._line, command)
                continue
            try:
                parts.append(self._hear(command, max(0.05, (deadline - time.monotonic()) / left), counted))
            except (Garbage, Unanswered, DeviceError, WarmingUp, NoData) as met:
                trouble = met
            pause(command.pause_s)
        if not parts:
            raise trouble or Unanswered("its profile asks for nothing", what="sensor")
        readings = [reading for part in parts for reading in part.readings]
        return Heard(readings, parts[-1].arrived_ns, b"".join(part.raw for part in parts))

    def _hear(self, command: Command, deadline_s: float, counted: Counter[str]) -> Heard:
        self._line.flush()
        self._decoder.reset()
        skipped = self._decoder.skipped
        raw, fault = bytearray(), None
        now = time.monotonic()
        deadline, again = now + deadline_s, now + deadline_s / 2
        self._line.write(command.data)
        while (left_s := deadline - time.monotonic()) > 0:
            chunk = self._line.read(min(left_s, LISTEN_S))
            if chunk is None:
                if not raw and time.monotonic() > again:
                    again = deadline
                    self._line.write(command.data)
                continue
            raw += chunk.data
            good, last = _sort(self._decoder.feed(chunk.data), counted)
            if good:
                return Heard(good[:1], chunk.arrived_ns, bytes(raw))
            fault = last or fault
            if last is not None and last.code.startswith(tuple(_WAITS) + REPORTS):
                break
        _, cut = _sort(self._decoder.finish(), counted)
        _count_skipped(self._decoder.skipped - skipped, counted)
        raise _trouble(fault or cut, bytes(raw), "sensor")


def _count_skipped(count: int, counted: Counter[str]) -> None:
    if count > 0:
        counted["skipped_bytes"] += count


class Listened:
    """A thread of its own reads what a talkative sensor says; `hear` takes what came since it was last called."""

    def __init__(self, heard: StreamDecoder, line: Line, keep: int = 0) -> None:
        """`keep`: readings for a mean; 0: the newest of each kind."""
        self._decoder, self._line, self._keep = heard, line, keep
        self._news = threading.Condition()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._clear()

    def _clear(self) -> None:
        self._readings: list[Reading] = []
        self._last: Chunk | None = None
        self._bytes = 0
        self._fault: Fault | None = None
        self._failure: Trouble | None = None
        self._dropped: Counter[str] = Counter()
        self._skipped = self._decoder.skipped

    def open(self) -> None:
        self._line.open()
        self._line.flush()
        self._decoder.reset()
        self._clear()
        self._stopping = False
        self._thread = threading.Thread(target=self._listen, name="listen", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stopping = True
        if self._thread is not None:
            self._thread.join(4 * LISTEN_S)
        self._line.close()

    def _listen(self) -> None:
        while not self._stopping:
            try:
                chunk = self._line.read(LISTEN_S)
            except Trouble as failure:
                with self._news:
                    self._failure = failure
                    self._news.notify_all()
                return
            if chunk is not None:
                self._take(chunk)

    def _take(self, chunk: Chunk) -> None:
        results = self._decoder.feed(chunk.data)
        with self._news:
            good, fault = _sort(results, self._dropped)
            self._bytes += len(chunk.data)
            if good:
                self._readings = (self._readings + good)[-self._keep :] if self._keep else _newest(self._readings, good)
                self._last, self._fault = chunk, None
            self._fault = fault or self._fault
            if good or fault:
                self._news.notify_all()

    def hear(self, deadline_s: float, counted: Counter[str]) -> Heard:
        with self._news:
            self._news.wait_for(self._answered, deadline_s)
            counted.update(self._dropped)
            _count_skipped(self._decoder.skipped - self._skipped, counted)
            readings, last, failure, fault, count = self._readings, self._last, self._failure, self._fault, self._bytes
            self._clear()
            self._failure = failure
        if readings and last is not None:
            return Heard(readings, last.arrived_ns, last.data)
        raise failure or _trouble(fault, bytes(min(count, 1)), "sensor")

    def _answered(self) -> bool:
        return bool(self._readings or self._failure or (self._fault and self._fault.code in _WAITS))


def _newest(held: Sequence[Reading], came: Sequence[Reading]) -> list[Reading]:
    """The newest of each kind of message, in the order of their coming."""
    return list({id(reading.plan): reading for reading in [*held, *came]}.values())


class Caller(Protocol):
    """Modbus to one device, over a serial line or TCP."""

    def open(self) -> None: ...

    def close(self) -> None: ...

    def ask(self, unit: int, request: Request, timeout_s: float, counted: Counter[str]) -> tuple[Block | Fault, bytes]:
        """The words, or why there are none, and the bytes that came."""

    def tell(self, unit: int, command: Command) -> None: ...


class Polled:
    """Modbus: the profile's requests one after the other; a refused one leaves its fields missing."""

    def __init__(self, heard: RegisterDecoder, caller: Caller, unit: int, commands: Sequence[Command] = ()) -> None:
        self._decoder, self._caller, self._unit, self._commands = heard, caller, unit, commands
        self.close = caller.close
        self._started = False

    def open(self) -> None:
        self._caller.open()
        self._started = False

    def hear(self, deadline_s: float, counted: Counter[str]) -> Heard:
        deadline = time.monotonic() + deadline_s
        if not self._started:
            for command in self._commands:
                self._caller.tell(self._unit, command)
            self._started = True
        image: dict[int, int] = {}
        raw = bytearray()
        fault: Fault | None = None
        arrived_ns = 0
        for request in self._decoder.requests:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise Unanswered(f"gave only part of its registers in {deadline_s:.3g} s", what=f"unit {self._unit}")
            block, heard = self._caller.ask(self._unit, request, left_s, counted)
            raw += heard
            if isinstance(block, Block):
                arrived_ns = boottime_ns()
                image.update(block.image)
            else:
                counted[block.code] += 1
                fault = block
        if not image:
            raise _trouble(fault, bytes(raw), f"unit {self._unit}")
        good, fault = _sort([self._decoder.read(image)], counted)
        if not good:
            raise _trouble(fault, bytes(raw), f"unit {self._unit}")
        return Heard(good, arrived_ns, bytes(raw))


class Pushed:
    """A device that posts by itself. `every_s`: how often it does; silent for three times that, it is overdue."""

    def __init__(self, heard: StreamDecoder, door: "Door", path: str, every_s: float) -> None:
        from adapters.transport.listen import Mailbox

        self._decoder, self._door, self._box = heard, door, Mailbox(path)
        self._overdue_s = 3 * every_s
        self._last_s = 0.0

    def open(self) -> None:
        self._door.open(self._box)
        self._last_s = time.monotonic()

    def close(self) -> None:
        self._door.close(self._box)

    def hear(self, deadline_s: float, counted: Counter[str]) -> Heard:
        chunk = self._box.take(deadline_s)
        if chunk is None:
            silent_s = time.monotonic() - self._last_s
            if silent_s < self._overdue_s:
                raise NothingNew("nothing new was posted", what=self._where)
            hint = f"does the device post to port {self._door.port} of this machine, under the path of `at:`?"
            raise Overdue(f"nothing was posted for {silent_s:.0f} s", what=self._where, hint=hint)
        self._last_s = time.monotonic()
        self._decoder.reset()
        good, fault = _sort([*self._decoder.feed(chunk.data), *self._decoder.finish()], counted)
        if not good:
            raise _trouble(fault, chunk.data, self._where)
        return Heard(good, chunk.arrived_ns, chunk.data)

    @property
    def _where(self) -> str:
        """Without its path, which holds a token."""
        return f"{self._door.host}:{self._door.port}"


class Fetched:
    """HTTP: one GET, one body."""

    def __init__(self, heard: JsonDecoder, address: Address, get: Callable[[Address, float], Chunk]) -> None:
        self._decoder, self._address, self._get = heard, address, get

    def open(self) -> None:
        return None

    def close(self) -> None:
        return None

    def hear(self, deadline_s: float, counted: Counter[str]) -> Heard:
        try:
            chunk = self._get(self._address, deadline_s)
        except Garbage as garbage:
            counted[garbage.code] += 1
            raise
        good, fault = _sort(self._decoder.feed(chunk.data), counted)
        if not good:
            raise _trouble(fault, chunk.data, self._address.url)
        return Heard(good, chunk.arrived_ns, chunk.data)


class Played:
    """A capture instead of hardware."""

    def __init__(self, heard: StreamDecoder, replay: "Replay") -> None:
        self._decoder, self._replay = heard, replay
        self.open, self.close = replay.open, replay.close

    def hear(self, deadline_s: float, counted: Counter[str]) -> Heard:
        one, chunk = self._replay.answer()
        self._decoder.reset()
        if isinstance(self._decoder, RegisterDecoder):
            self._decoder.expected = one.expected
        good, fault = _sort([*self._decoder.feed(one.raw), *self._decoder.finish()], counted)
        if not good:
            raise _trouble(fault, one.raw, str(self._replay.path))
        return Heard(good, chunk.arrived_ns, one.raw)
