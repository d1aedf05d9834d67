"""Grammar `frame`: a stream of bytes in, readings and faults out; and values in, one frame out. No I/O here.

A frame that does not hold is never skipped as a whole: the search goes on one byte behind its header, because a lost byte puts
the next good frame inside the bad one.
"""

from collections.abc import Callable, Mapping, Sequence
from struct import Struct as Layout

from adapters.decode.checksums import writer
from adapters.decode.reading import Fault, Plan, Reading, Result, StreamDecoder, plan_of
from adapters.decode.shape import CHECKSUM, CODES, LENGTH, Shape, pattern_of, shapes_of
from adapters.profile import MAX_FRAME, SIZES, Field, FrameWire, Message, Profile, Type
from readings.errors import Drop

__all__ = ["CODES", "FrameDecoder", "MixedDecoder", "StuffedDecoder", "decoder", "encoder", "raw_of"]

FLAG, ESCAPE = b"\x7e", b"\x7d"
STUFFED: Mapping[int, bytes] = {0x5E: b"\x7e", 0x5D: b"\x7d", 0x31: b"\x11", 0x33: b"\x13"}
"""What stands behind a 7d for which byte (Sensirion, SPS30 datasheet, 5.2)."""
STUFFING = Fault("bad_stuffing")


def decoder(profile: Profile) -> StreamDecoder:
    shapes = shapes_of(profile)
    if any(shape.wire.stuffing == "shdlc" for shape in shapes):
        return StuffedDecoder(profile, shapes)
    plain = shapes[0].start.literal and shapes[0].wire.length is not None
    return FrameDecoder(profile) if len(shapes) == 1 and plain else MixedDecoder(profile, shapes)


class FrameDecoder:
    """One kind of frame of one length. Keeps the open end of the stream between two calls, never more than one frame."""

    def __init__(self, profile: Profile) -> None:
        shape = Shape(profile)
        self.plan: Plan = shape.plan
        self.skipped = 0
        self._start, self._header = bytes(shape.start), bytes(shape.header)
        self._length = shape.wire.length or MAX_FRAME
        self._wrong, self._whole, self._read = shape.wrong, shape.whole, shape.read
        self._open = b""

    def feed(self, data: bytes) -> list[Result]:
        stream = self._open + data if self._open else data
        results: list[Result] = []
        start, length = self._start, self._length
        at, end = 0, len(stream)
        while True:
            found = stream.find(self._header, at)
            if found < 0:
                found = end - _overlap(stream, self._header)
                self.skipped += max(found - at, 0)
                break
            self.skipped += found - at
            if not stream.startswith(start, found) and not start.startswith(stream[found : found + len(start)]):
                results.append(LENGTH)
                self.skipped += 1
                at = found + 1
            elif end - found < length:
                break
            elif self._whole(frame := stream[found : found + length]):
                results.append(self._read(frame))
                at = found + length
                if at == end:
                    found = end
                    break
            else:
                if start or not results or isinstance(results[-1], Reading):  # without a start every byte may begin one
                    results.append(self._wrong(frame) or CHECKSUM)
                self.skipped += 1
                at = found + 1
        self._open = stream[max(found, at) :] if found < end else b""
        return results

    def finish(self) -> list[Result]:
        cut = bool(self._open) and self._open.startswith(self._header)
        self.skipped += 0 if cut else len(self._open)
        self.reset()
        return [Fault("truncated")] if cut else []

    def reset(self) -> None:
        self._open = b""


def _overlap(stream: bytes, header: bytes) -> int:
    """How many of the last bytes may be the beginning of a header."""
    for size in range(min(len(header) - 1, len(stream)), 0, -1):
        if stream.endswith(header[:size]):
            return size
    return 0


class MixedDecoder:
    """Frames of several kinds or lengths, told apart by their first bytes."""

    def __init__(self, profile: Profile, shapes: Sequence[Shape]) -> None:
        self.plan: Plan = plan_of(profile)
        self.skipped = 0
        self._shapes = shapes
        self._search = pattern_of(shapes).search
        self._longest = max(len(shape.header) for shape in shapes)
        self._open = b""
        own = Shape(profile)
        rivals = [s for s in shapes if s.certainty > own.certainty and s.start.fits(own.start)]
        usual = own.start.literal and own.wire.length is not None and not rivals
        self._start, self._length = bytes(own.start) if usual else b"", own.wire.length or 0
        self._whole, self._read = own.whole, own.read

    def feed(self, data: bytes) -> list[Result]:
        stream = self._open + data
        results: list[Result] = []
        at, end = 0, len(stream)
        start, length = self._start, self._length
        while at < end:
            if start and stream.startswith(start, at) and end - at >= length and self._whole(frame := stream[at : at + length]):
                results.append(self._read(frame))
                at += length
                continue
            match = self._search(stream, at)
            found = match.start() if match else self._beginning(stream, at)
            self.skipped += found - at
            at = found
            if match is None:
                break
            result, size = self._frame(stream[at : at + MAX_FRAME])
            if result is None:
                break
            results.append(result)
            self.skipped += 0 if size else 1
            at += size or 1
        self._open = stream[at:]
        return results

    def _beginning(self, stream: bytes, at: int) -> int:
        """From where on the last bytes may be the beginning of a header."""
        for place in range(max(at, len(stream) - self._longest + 1), len(stream)):
            if any(shape.header.fits(stream[place:]) and len(stream) - place < len(shape.header) for shape in self._shapes):
                return place
        return len(stream)

    def _frame(self, data: bytes) -> tuple[Result | None, int]:
        """What the frame at the beginning of these bytes means, and its size; size 0: it does not hold; None: too few bytes."""
        fault: Fault | None = None
        for shape in self._shapes:
            if not shape.start.fits(data):
                continue
            size = shape.size(data) if len(data) >= len(shape.start) else None
            if size is None or len(data) < size:
                return None, 0
            if size == 0:
                fault = fault or LENGTH
                continue
            frame = data[:size]
            wrong = shape.wrong(frame)
            if wrong is None:
                return shape.read(frame), size
            fault = fault or wrong
        return fault or LENGTH, 0

    def finish(self) -> list[Result]:
        cut = bool(self._open) and self._search(self._open) is not None
        self.skipped += 0 if cut else len(self._open)
        self.reset()
        return [Fault("truncated")] if cut else []

    def reset(self) -> None:
        self._open = b""


class StuffedDecoder:
    """Frames between two 7e. The byte that closes a good frame may open the next one; what stands between them is skipped."""

    def __init__(self, profile: Profile, shapes: Sequence[Shape]) -> None:
        self.plan: Plan = plan_of(profile)
        self.skipped = 0
        self._shapes = shapes
        self._open = b""
        self._shared = False

    def feed(self, data: bytes) -> list[Result]:
        stream = self._open + data
        results: list[Result] = []
        at = 0
        while True:
            begin = stream.find(FLAG, at)
            if begin < 0:
                self.skipped += len(stream) - at
                self._open = b""
                return results
            self.skipped += begin - at
            close = stream.find(FLAG, begin + 1)
            if close < 0 and len(stream) - begin <= 2 * MAX_FRAME:
                self._open = stream[begin:]
                return results
            if close < 0 or close - begin > 2 * MAX_FRAME:
                results.append(LENGTH)
                self.skipped += 1
                at, self._shared = begin + 1, False
                continue
            if close > begin + 1:
                result, good = self._frame(stream[begin : close + 1])
                results += [] if self._shared and not good else [result]
            else:
                good = False
            self.skipped += 0 if good or (self._shared and close == begin + 1) else close - begin
            at, self._shared = close, good

    def _frame(self, stuffed: bytes) -> tuple[Result, bool]:
        frame = unstuffed(stuffed)
        if frame is None:
            return STUFFING, False
        fault = None
        for shape in self._shapes:
            if not shape.start.fits(frame) or len(frame) < len(shape.header):
                continue
            wrong = LENGTH if shape.size(frame) != len(frame) else shape.wrong(frame)
            if wrong is None:
                return shape.read(frame), True
            fault = fault or wrong
        return fault or Fault("bad_header"), False

    def finish(self) -> list[Result]:
        cut = len(self._open) > 1 and not self._shared
        self.skipped += 0 if cut or (self._shared and len(self._open) == 1) else len(self._open)
        self.reset()
        return [Fault("truncated")] if cut else []

    def reset(self) -> None:
        self._open, self._shared = b"", False


def unstuffed(stuffed: bytes) -> bytes | None:
    """In one pass: 7d 5d 5e is 7d 5e, never 7e. None when a 7d stands before anything that it may not stand before."""
    first, *rest = stuffed.split(ESCAPE)
    frame = bytearray(first)
    for part in rest:
        if not part or part[0] not in STUFFED:
            return None
        frame += STUFFED[part[0]] + part[1:]
    return bytes(frame)


def stuffed(frame: bytes) -> bytes:
    """Between its two 7e."""
    codes = {plain[0]: ESCAPE + bytes((code,)) for code, plain in STUFFED.items()}
    return FLAG + b"".join(codes.get(byte, bytes((byte,))) for byte in frame[1:-1]) + FLAG


def raw_of(name: str, value: float, kind: Type, plan: Plan, at: int) -> int | float:
    """The raw number on the wire that means a value [canonical unit]. Raises Drop where it does not fit its type."""
    scale = plan.scales[at]
    raw = (value - scale.offset) / scale.factor
    if kind in ("f32", "f64"):
        return raw
    whole, (low, high) = round(raw), _span(kind)
    if not low <= whole <= high:
        raise Drop(f"{value} does not fit a {kind}", what=name)
    return whole


def _span(kind: Type) -> tuple[int, int]:
    bits = 8 * SIZES[kind]
    return (0, 2**bits - 1) if kind.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def encoder(profile: Profile, message: Message | None = None) -> Callable[[Mapping[str, float | int | str]], bytes]:
    """values [canonical units] -> one frame, checksum and fixed bytes included. A missing value is its sentinel, else zero."""
    part = message or profile
    wire = part.wire
    assert isinstance(wire, FrameWire)  # noqa: S101  # the caller chose by grammar
    plan = plan_of(profile, message)
    write = writer(wire.check) if wire.check else None
    index = {name: at for at, name in enumerate(plan.names)}

    def encode(values: Mapping[str, float | int | str]) -> bytes:
        frame = _template(wire, part.fields, values)
        for name, field in part.fields.items():
            if field.type != "text":
                value = values.get(name)
                kind = field.type or wire.type
                raw = _absent(field, kind) if value is None else raw_of(name, float(value), kind, plan, index[name])
                _put(frame, field, wire, raw)
        if write:
            write(frame)
        return stuffed(bytes(frame)) if wire.stuffing == "shdlc" else bytes(frame)

    return encode


def _template(wire: FrameWire, fields: Mapping[str, Field], values: Mapping[str, float | int | str]) -> bytearray:
    """The frame without its numbers: first and last bytes, those without a meaning, texts, its length."""
    tail = len(wire.end) + (-wire.check.at - len(wire.end) if wire.check and wire.check.at < 0 else 0)
    held = {
        name: str(values.get(name, "")).encode("latin-1", "replace") for name, field in fields.items() if field.type == "text"
    }
    ends = [len(wire.start)]
    for name, field in fields.items():
        assert isinstance(field.at, int)  # noqa: S101  # profile.py refuses others
        ends.append(field.at + (field.size or (len(held[name]) + 1 if name in held else SIZES[field.type or wire.type])))
    frame = bytearray(wire.length or max(ends) + tail)
    frame[: len(wire.start)] = wire.start
    for offset, fixed in wire.fixed.items():
        frame[int(offset) : int(offset) + len(fixed)] = fixed
    for name, text in held.items():
        at = fields[name].at
        assert isinstance(at, int)  # noqa: S101  # profile.py refuses others
        text = text[: fields[name].size or len(text)]
        frame[at : at + len(text)] = text
    if wire.length_from is not None:
        place = wire.length_from
        width = SIZES[place.type]
        frame[place.at : place.at + width] = (len(frame) - place.plus).to_bytes(width, place.order)
    if wire.end:
        frame[-len(wire.end) :] = wire.end
    return frame


def _put(frame: bytearray, field: Field, wire: FrameWire, raw: int | float) -> None:
    """A number into its bytes; fields that share them each fill their own bits."""
    kind, order = field.type or wire.type, field.order or wire.order
    assert isinstance(field.at, int)  # noqa: S101  # profile.py refuses others
    at, size = field.at, SIZES[kind]
    if kind in ("f32", "f64"):
        Layout((">" if order == "big" else "<") + CODES[kind]).pack_into(frame, at, raw)
        return
    whole = int(raw)
    if field.bits:
        mask = (2 << field.bits[1] - field.bits[0]) - 1
        there = int.from_bytes(frame[at : at + size], order)
        whole = there & ~(mask << field.bits[0]) | (whole & mask) << field.bits[0]
        frame[at : at + size] = whole.to_bytes(size, order)
    else:
        frame[at : at + size] = whole.to_bytes(size, order, signed=kind.startswith("s"))


def _absent(field: Field, kind: Type) -> int | float:
    if not field.sentinels:
        return 0
    return field.sentinels[0] if kind in ("f32", "f64") else int(field.sentinels[0])
