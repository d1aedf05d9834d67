"""Modbus RTU: a request out on a serial line, the words of its answer in. One bus per port, shared by all units on it.

RTU has no transaction numbers: an answer that comes too late would pass for the next one. So the line is silent before a request,
and a unit that kept silent is not asked again before its answer can no longer come.
"""

import time
from collections import Counter
from pathlib import Path
from weakref import WeakValueDictionary

from adapters.decode.modbus import Answers, Block, Request, expected_of, framed
from adapters.decode.reading import Fault
from adapters.profile import Command, Link, Order
from adapters.transport.base import Garbage, LinkFailed, Unanswered
from adapters.transport.serial import SerialLine, line_at

SETTLE_S = 0.1
"""So long after the last byte nothing more of a frame comes: USB adapters hold bytes back for up to 16 ms."""
LATE_S = 1.0
"""How long after its reply timeout a unit's answer may still come."""
TRIES = 2
"""A damaged answer is asked for once more at once; silence is not: its answer may be on the way."""


class Bus:
    """A port and what is still to be expected on it. Used by its port's thread only."""

    def __init__(self, line: SerialLine) -> None:
        self.line = line
        self.open, self.close = line.open, line.close
        link = line.link
        bits = 1 + link.data_bits + (link.parity != "none") + link.stop_bits
        self._gap_s = max(3.5 * bits / link.baud, 0.00175)  # "MODBUS over serial line", 2.5.1.1
        self._active_s = 0.0
        self._late_until_s: dict[int, float] = {}

    def exchange(self, sent: bytes, answers: Answers, timeout_s: float, length: int) -> tuple[list[Block | Fault], bytes, bool]:
        """Sends a frame; what came until an answer, a refusal or the end of time; and whether a damaged answer came."""
        raw = bytearray()
        found: list[Block | Fault] = []
        deadline = time.monotonic() + timeout_s
        self.line.write(sent)
        while (left_s := deadline - time.monotonic()) > 0:
            chunk = self.line.read(min(left_s, SETTLE_S))
            if chunk is None:
                if answers.damaged(length):
                    break
                continue
            raw += chunk.data
            self._active_s = time.monotonic()
            found += answers.feed(chunk.data)
            if found and _ends(found[-1]):
                return found, bytes(raw), True
        damaged = answers.damaged(length)
        return [*found, *answers.finish()], bytes(raw), damaged

    def silence(self, unit: int, deadline: float, counted: Counter[str]) -> None:
        """Waits until the line is silent and nothing of an earlier request to this unit can come. Raises Garbage, Unanswered."""
        until_s = max(self._late_until_s.pop(unit, 0.0), self._active_s + self._gap_s)
        late = 0
        while True:
            now = time.monotonic()
            if until_s > deadline:
                self._late_until_s[unit] = until_s
                if late:
                    raise Garbage("the line is never silent", what=str(self.line.path), code="bad_header", hint="who else talks?")
                raise Unanswered("a late answer may still come", what=f"unit {unit}", hint="it is asked again in a moment")
            chunk = self.line.read(max(0.0, until_s - now))
            if chunk is not None:
                late += len(chunk.data)
                counted["late_bytes"] += len(chunk.data)
                until_s = max(until_s, time.monotonic() + self._gap_s)
            elif time.monotonic() >= until_s:
                return

    def doubt(self, unit: int, until_s: float) -> None:
        """An answer of this unit may come until then [monotonic]."""
        self._late_until_s[unit] = until_s


def _ends(result: Block | Fault) -> bool:
    return isinstance(result, Block) or result.code.startswith("modbus_exception")


class Caller:
    """One sensor's way over a bus: how its checksums stand, how long it may take."""

    def __init__(self, bus: Bus, link: Link, crc_order: Order) -> None:
        self._bus, self._link, self._crc_order = bus, link, crc_order
        self.open, self.close = bus.open, bus.close

    def ask(self, unit: int, request: Request, timeout_s: float, counted: Counter[str]) -> tuple[Block | Fault, bytes]:
        """The words (or why there are none) and the bytes that came. Raises Unanswered, Garbage, Unplugged, LinkFailed."""
        deadline = time.monotonic() + timeout_s
        sent = framed(unit, request.pdu)
        for tries_left in range(TRIES - 1, -1, -1):
            self._bus.silence(unit, deadline, counted)
            asked_s = time.monotonic()
            answers = Answers(expected_of(sent), self._crc_order)
            found, raw, whole = self._bus.exchange(sent, answers, deadline - asked_s, 5 + 2 * request.count)
            if answers.skipped:
                counted["skipped_bytes"] += answers.skipped
            last = found[-1] if found else None
            if last is not None and _ends(last):
                _count(found[:-1], counted)
                return last, raw
            if not whole:
                self._bus.doubt(unit, asked_s + self._link.reply_timeout_s + LATE_S)
                break
            if tries_left:
                _count(found, counted)
        if last is None or isinstance(last, Block) or last.code == "echo":
            _count(found, counted)
            why = f"unit {unit} does not answer in {timeout_s:.3g} s"
            hint = "is the unit number right, the line's speed and parity, and A and B the right way round?"
            raise Unanswered(why, what=str(self._bus.line.path), hint=hint)
        _count(found[:-1], counted)
        return last, raw

    def tell(self, unit: int, command: Command) -> None:
        """Sends a command's request; its answer must begin with what the command expects. Raises Unanswered, LinkFailed."""
        deadline = time.monotonic() + command.timeout_s
        self._bus.silence(unit, deadline + LATE_S, Counter())
        self._bus.line.write(framed(unit, command.data))
        wanted, refused = bytes((unit,)) + command.answer, bytes((unit, command.data[0] | 0x80))
        raw = b""
        while command.answer and (left_s := deadline - time.monotonic()) > 0:
            chunk = self._bus.line.read(left_s)
            raw += chunk.data if chunk is not None else b""
            if wanted in raw:
                break
            if refused in raw:
                raise LinkFailed("refuses a command", what=f"unit {unit}", hint=f"it answered {raw.hex(' ')}")
        else:
            if command.answer:
                raise Unanswered("does not obey a command", what=f"unit {unit}", hint="is the unit number right, and it on?")
        if command.pause_s:
            time.sleep(command.pause_s)


def _count(found: list[Block | Fault], counted: Counter[str]) -> None:
    counted.update(result.code for result in found if isinstance(result, Fault))


_shared: WeakValueDictionary[Path, Bus] = WeakValueDictionary()


def bus_at(path: Path, link: Link) -> Bus:
    """The one bus of this port within this program."""
    bus = _shared.get(path)
    if bus is None:
        bus = _shared[path] = Bus(line_at(path, link))
    return bus


def caller_at(path: Path, link: Link, crc_order: Order) -> Caller:
    return Caller(bus_at(path, link), link, crc_order)
