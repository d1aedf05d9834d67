"""Bytes of a Modbus conversation in; words of good answers, and faults with their names, out. RTU and TCP. No I/O here.

"MODBUS over serial line" V1.02, "Modbus application protocol" V1.1b3. An answer counts only when unit, function, byte count and
checksum (TCP: transaction) are those of the request; whatever else comes is named, and the search goes on behind it.
"""

from collections.abc import Iterator
from struct import pack, unpack

from msgspec import Struct

from adapters.decode.checksums import crc16_modbus
from adapters.decode.reading import Fault
from adapters.profile import Order

MOST_OPEN = 512
"""Two of the longest frames: what stands open beyond that belongs to nobody."""
READS = (1, 2, 3, 4)
FIXED = (5, 6, 15, 16)
"""Functions whose answers have 8 bytes."""


class Request(Struct, frozen=True):
    """One read: `count` words from `address` on."""

    function: int
    address: int
    count: int

    @property
    def pdu(self) -> bytes:
        return pack(">BHH", self.function, self.address, self.count)


class Block(Struct, frozen=True):
    """The words of one good answer."""

    function: int
    address: int
    words: tuple[int, ...]

    @property
    def image(self) -> dict[int, int]:
        return dict(enumerate(self.words, register(self.function, self.address)))


class Expected(Struct, frozen=True):
    """What an answer is held against. None: anything. `first`: the address that the request named."""

    unit: int | None = None
    function: int | None = None
    count: int | None = None
    first: int = 0
    transaction: int | None = None
    raw: bytes = b""


def register(function: int, address: int) -> int:
    """One number for a register: functions 3 and 4 read different tables with the same addresses."""
    return function << 16 | address


def framed(unit: int, pdu: bytes, crc_order: Order = "little") -> bytes:
    """A frame for a serial line."""
    body = bytes((unit,)) + pdu
    return body + crc16_modbus(body).to_bytes(2, crc_order)


def expected_of(request: bytes, *, any_unit: bool = False) -> Expected:
    """What answers a raw read request, in RTU or TCP framing."""
    if len(request) == 12 and request[2:6] == b"\0\0\0\x06":
        transaction, unit, function, first, count = unpack(">H4xBBHH", request)
        return Expected(None if any_unit else unit, function, count, first, transaction, request)
    if len(request) == 8 and request[1] in READS:
        unit, function, first, count = unpack(">BBHH", request[:6])
        return Expected(None if any_unit else unit, function, count, first, None, request)
    return Expected(raw=request)


class Answers:
    """Keeps the open end of a conversation. `skipped`: bytes that belonged to no frame; `echoed`: our own request came back."""

    def __init__(self, expected: Expected, crc_order: Order = "little") -> None:
        self.skipped = 0
        self.echoed = False
        self._alone = True
        self._expected = expected
        self._crc_order: Order = crc_order
        self._open = b""
        self._tcp: bool | None = True if expected.transaction is not None else False if expected.function is not None else None

    def feed(self, data: bytes) -> list[Block | Fault]:
        self._open += data
        if self._tcp is None and len(self._open) >= 8:
            self._tcp = self._open[2:4] == b"\0\0" and int.from_bytes(self._open[4:6], "big") < 256
        found = list(self._tcp_frames() if self._tcp else self._rtu_frames())
        self._alone = self._alone and not found
        if (over := len(self._open) - MOST_OPEN) > 0:
            self.skipped += over
            self._open = self._open[over:]
        return found

    def damaged(self, length: int) -> bool:
        """Whether exactly an answer's bytes stand open, with our unit or function: it came, and is not whole."""
        stands = self._open
        return len(stands) == length and (stands[0] == self._expected.unit or stands[1] == self._expected.function)

    def finish(self) -> list[Fault]:
        """The conversation ended: what stands open is named."""
        left, self._open = self._open, b""
        if not left:
            return [Fault("echo", "our own request came back, and no more")] if self.echoed and self._alone else []
        self.skipped += len(left)
        return [self._tcp_fault(left) if self._tcp else self._rtu_fault(left)]

    def reset(self) -> None:
        self._open = b""

    # ---- serial line

    def _rtu_frames(self) -> Iterator[Block | Fault]:
        at = begun = 0
        stream, echo = self._open, self._expected.raw
        while at + 5 <= len(stream):
            if echo and not self.echoed and stream.startswith(echo, at):
                length, self.echoed = len(echo), True
            elif length := self._whole(stream, at):
                yield from self._passed(stream[begun:at])
                yield self._judged(stream[at], stream[at + 1 : at + length - 2])
                begun = at + length
                at = begun
                continue
            else:
                at += 1
                continue
            self.skipped += at - begun
            begun = at = at + length
        self._open = stream[begun:]

    def _passed(self, stretch: bytes) -> Iterator[Fault]:
        """Bytes before a frame: noise, a wake-up zero; or an answer to us that was damaged, which has a name."""
        self.skipped += len(stretch)
        if len(stretch) >= 5 and stretch[0] == self._expected.unit and stretch[1] & 0x7F == self._expected.function:
            yield self._rtu_fault(stretch)

    def _whole(self, stream: bytes, at: int) -> int:
        """The length of the frame that begins there; 0 when none does, or not all of it is there."""
        function = stream[at + 1]
        if function & 0x80:
            lengths: tuple[int, ...] = (5,)
        elif function in READS:
            lengths = (5 + stream[at + 2], 8)  # an answer, or a request of another master
        elif function in FIXED:
            lengths = (8,)
        else:
            return 0
        for length in lengths:
            end = at + length
            if end <= len(stream) and crc16_modbus(stream[at : end - 2]) == int.from_bytes(
                stream[end - 2 : end], self._crc_order
            ):
                return length
        return 0

    def _rtu_fault(self, raw: bytes) -> Fault:
        """Why no frame begins at the first byte."""
        if len(raw) < 5:
            return Fault("truncated", f"{len(raw)} bytes")
        length = 5 if raw[1] & 0x80 else 5 + raw[2]
        if len(raw) < length:
            return Fault("truncated", f"{len(raw)} of {length} bytes")
        swapped = crc16_modbus(raw[: length - 2]) == int.from_bytes(raw[length - 2 : length][::-1], self._crc_order)
        return Fault("bad_checksum", "it fits with its bytes swapped: crc_order" if swapped else "")

    # ---- TCP

    def _tcp_frames(self) -> Iterator[Block | Fault]:
        expected = self._expected.transaction
        while len(self._open) >= 8:
            transaction, protocol, length = unpack(">HHH", self._open[:6])
            if protocol != 0 or not 3 <= length <= 254:
                yield self._tcp_fault(self._open)
                self.skipped += len(self._open)
                self._open = b""
            elif len(self._open) < 6 + length:
                return
            else:
                frame, self._open = self._open[: 6 + length], self._open[6 + length :]
                if expected is not None and transaction != expected:
                    yield Fault("wrong_transaction", f"{transaction}, asked was {expected}")
                else:
                    yield self._judged(frame[6], frame[7:])

    def _tcp_fault(self, raw: bytes) -> Fault:
        if len(raw) < 6:
            return Fault("truncated", f"{len(raw)} bytes")
        protocol, length = unpack(">HH", raw[2:6])
        if protocol != 0:
            return Fault("bad_header", f"protocol {protocol}")
        if not 3 <= length <= 254:
            return Fault("bad_length", f"{length} bytes")
        return Fault("truncated", f"{len(raw)} of {6 + length} bytes")

    # ---- both

    def _judged(self, unit: int, pdu: bytes) -> Block | Fault:
        """`pdu`: function, byte count, data; or function | 0x80, exception."""
        expected = self._expected
        if expected.unit is not None and unit != expected.unit:
            return Fault("wrong_slave", f"{unit}, asked was {expected.unit}")
        function = pdu[0] & 0x7F
        if expected.function is not None and function != expected.function:
            return Fault("wrong_function", f"{function}, asked was {expected.function}")
        if pdu[0] & 0x80:
            return Fault(f"modbus_exception:{pdu[1]}")
        if function not in (3, 4):
            return Fault("wrong_function", f"{function} reads no registers")
        data = pdu[2:]
        if pdu[1] != len(data) or len(data) % 2 or (expected.count is not None and len(data) != 2 * expected.count):
            return Fault("bad_length", f"{len(data)} bytes of data, {pdu[1]} announced")
        return Block(function, expected.first, unpack(f">{len(data) // 2}H", data))
