"""Grammar `registers`: Modbus answers in, readings out; values in, a register image out. No I/O here.

Answers in RTU and TCP framing are told apart by their bytes. A value's registers are never split over two requests: read apart,
the two halves may belong to different moments (an EPEver meter gave -655.36 A that way).
"""

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from struct import Struct as Layout
from struct import pack, unpack

from msgspec import Struct
from msgspec.structs import replace

from adapters.decode.checksums import crc16_modbus
from adapters.decode.frame import CODES, raw_of
from adapters.decode.reading import Fault, Judge, Number, Plan, Reading, Result, plan_of
from adapters.profile import SIZES, Field, Order, Profile, RegisterWire, Type, default_type

Image = Mapping[int, int]
"""Register address -> 16-bit word."""


class Request(Struct, frozen=True):
    """One read: `count` words from `address` on."""

    function: int
    address: int
    count: int


class Block(Struct, frozen=True):
    """The words of one good answer."""

    address: int
    words: tuple[int, ...]

    @property
    def image(self) -> dict[int, int]:
        return dict(enumerate(self.words, self.address))


class Expected(Struct, frozen=True):
    """What an answer is held against. None: anything. `first`: the address that the request named."""

    unit: int | None = None
    function: int | None = None
    count: int | None = None
    first: int = 0
    transaction: int | None = None
    raw: bytes = b""


def requests_of(profile: Profile) -> tuple[Request, ...]:
    """Neighbouring registers share a request."""
    wire = profile.wire
    assert isinstance(wire, RegisterWire)  # noqa: S101  # the caller chose by grammar
    spans = sorted({(_at(field), _at(field) + _size(field, profile)) for field in _numbers(profile).values()})
    merged: list[tuple[int, int]] = []
    for lo, hi in spans:
        if merged and (lo < merged[-1][1] or (lo <= merged[-1][1] + wire.gap and hi - merged[-1][0] <= wire.max_words)):
            merged[-1] = (merged[-1][0], max(hi, merged[-1][1]))
        else:
            merged.append((lo, hi))
    return tuple(Request(wire.function, lo, hi - lo) for lo, hi in merged)


class RegisterDecoder:
    """`reading` takes words by address, as a transport collected them; `feed` takes raw answers to `expected`."""

    def __init__(self, profile: Profile, expected: Expected | None = None, *, crc_order: Order | None = None) -> None:
        wire = profile.wire
        assert isinstance(wire, RegisterWire)  # noqa: S101  # the caller chose by grammar
        self.plan: Plan = plan_of(profile)
        self.requests = requests_of(profile)
        self.skipped = 0
        self.expected = expected or Expected()
        self._judge = Judge(profile, self.plan)
        self._crc_order: Order = crc_order or wire.crc_order
        self._open = b""
        fields = [profile.fields[name] for name in self.plan.names]
        self._spans = [range(_at(field), _at(field) + _size(field, profile)) for field in fields]
        self._addresses = sorted({address for span in self._spans for address in span})
        self._bytes = itemgetter(*_places(fields, self._addresses, profile))
        self._pack = Layout(f">{len(self._addresses)}H").pack
        self._unpack = Layout(">" + "".join(CODES[_type(field, profile)] for field in fields)).unpack

    def reading(self, image: Image, notes: Sequence[str] = ()) -> Reading:
        """Fields whose registers are not in the image are missing."""
        words = [image.get(address) for address in self._addresses]
        packed = self._pack(*[word or 0 for word in words])
        numbers: Sequence[Number] = self._unpack(bytes(self._bytes(packed)))
        if None in words:
            numbers = [
                number if all(address in image for address in span) else None
                for number, span in zip(numbers, self._spans, strict=True)
            ]
        return self._judge.judge(numbers, {}, {}, notes)

    def feed(self, data: bytes) -> list[Result]:
        self._open += data
        answer = read_answer(self._open, self.expected, self._crc_order)
        if isinstance(answer, Fault):
            if answer.code in ("truncated", "echo"):
                return []
            self.reset()
            return [answer]
        self.reset()
        if not any(address in answer.image for address in self._addresses):
            return [Fault("schema_mismatch", "none of this profile's registers is in the answer")]
        return [self.reading(answer.image)]

    def finish(self) -> list[Result]:
        left, self._open = self._open, b""
        answer = read_answer(left, self.expected, self._crc_order) if left else None
        return [answer] if isinstance(answer, Fault) else []

    def reset(self) -> None:
        self._open = b""


def expected_of(request: bytes, *, any_unit: bool = False) -> Expected:
    """What answers a raw read request, in RTU or TCP framing."""
    if len(request) == 12 and request[2:6] == b"\0\0\0\x06":
        transaction, unit, function, first, count = unpack(">H4xBBHH", request)
        return Expected(None if any_unit else unit, function, count, first, transaction, request)
    if len(request) == 8 and request[1] in (3, 4):
        unit, function, first, count = unpack(">BBHH", request[:6])
        return Expected(None if any_unit else unit, function, count, first, None, request)
    return Expected(raw=request)


def read_answer(raw: bytes, expected: Expected, crc_order: Order = "little") -> Block | Fault:
    """One answer. Bytes before it (a late reply, a wake-up zero, our own echo) are passed over when a good one follows."""
    looks_tcp = expected.function is None and len(raw) >= 8 and raw[2:4] == b"\0\0" and int.from_bytes(raw[4:6], "big") < 256
    if expected.transaction is not None or looks_tcp:
        return _tcp(raw, expected)
    if expected.raw and raw.startswith(expected.raw):
        rest = raw[len(expected.raw) :]
        return read_answer(rest, replace(expected, raw=b""), crc_order) if rest else Fault("echo", "our own request came back")
    first = _rtu(raw, expected, crc_order)
    if isinstance(first, Block) or first.code.startswith("modbus_exception"):
        return first
    for at in range(1, len(raw) - 4):
        later = _rtu(raw[at:], expected, crc_order)
        if isinstance(later, Block) and expected.count is not None:
            return later
    return first


def _rtu(raw: bytes, expected: Expected, crc_order: Order) -> Block | Fault:
    if len(raw) < 5:
        return Fault("truncated", f"{len(raw)} bytes")
    length = 5 if raw[1] & 0x80 else 5 + raw[2]
    if len(raw) < length:
        return Fault("truncated", f"{len(raw)} of {length} bytes")
    if crc16_modbus(raw[: length - 2]) != int.from_bytes(raw[length - 2 : length], crc_order):
        swapped = crc16_modbus(raw[: length - 2]) == int.from_bytes(raw[length - 2 : length][::-1], crc_order)
        return Fault("bad_checksum", "it fits with its bytes swapped: crc_order" if swapped else "")
    return _answer(raw[0], raw[1 : length - 2], expected)


def _tcp(raw: bytes, expected: Expected) -> Block | Fault:
    if len(raw) < 9:
        return Fault("truncated", f"{len(raw)} bytes")
    transaction, protocol, length = unpack(">HHH", raw[:6])
    if protocol != 0:
        return Fault("bad_header", f"protocol {protocol}")
    if length < 3:
        return Fault("bad_length", f"{length} bytes")
    if len(raw) < 6 + length:
        return Fault("truncated", f"{len(raw)} of {6 + length} bytes")
    if expected.transaction is not None and transaction != expected.transaction:
        return Fault("wrong_transaction", f"{transaction}, asked was {expected.transaction}")
    return _answer(raw[6], raw[7 : 6 + length], expected)


def _answer(unit: int, pdu: bytes, expected: Expected) -> Block | Fault:
    """`pdu`: function, byte count, data; or function | 0x80, exception."""
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
    return Block(expected.first, unpack(f">{len(data) // 2}H", data))


def _numbers(profile: Profile) -> dict[str, Field]:
    return {name: profile.fields[name] for name in profile.numbers}


def _at(field: Field) -> int:
    assert isinstance(field.at, int)  # noqa: S101  # profile.py refuses others
    return field.at


def _type(field: Field, profile: Profile) -> Type:
    return field.type or default_type(profile.wire)


def _size(field: Field, profile: Profile) -> int:
    """In words."""
    return SIZES[_type(field, profile)] // 2


def _places(fields: Sequence[Field], addresses: Sequence[int], profile: Profile) -> list[int]:
    """Where each byte of each value stands among the packed words, highest first."""
    wire = profile.wire
    assert isinstance(wire, RegisterWire)  # noqa: S101  # the caller chose by grammar
    places: list[int] = []
    for field in fields:
        span = range(_at(field), _at(field) + _size(field, profile))
        words = span if (field.words or wire.words) == "high_first" else reversed(span)
        for address in words:
            high = 2 * addresses.index(address)
            places += [high, high + 1] if (field.order or wire.order) == "big" else [high + 1, high]
    return places


def encoder(profile: Profile) -> Callable[[Mapping[str, float | int | str]], dict[int, int]]:
    """values [canonical units] -> the registers that hold them. A missing value is its sentinel, else zero (f32: NaN)."""
    plan = plan_of(profile)
    fields = _numbers(profile)

    def encode(values: Mapping[str, float | int | str]) -> dict[int, int]:
        image: dict[int, int] = {}
        for index, (name, field) in enumerate(fields.items()):
            kind, value = _type(field, profile), values.get(name)
            raw = _absent(field, kind) if value is None else raw_of(name, float(value), kind, plan, index)
            span = range(_at(field), _at(field) + _size(field, profile))
            packed = pack(">" + CODES[kind], raw)
            for place, byte in zip(_places([field], list(span), profile), packed, strict=True):
                address, low = span[place // 2], place % 2
                image[address] = image.get(address, 0) | byte << (0 if low else 8)
        return image

    return encode


def _absent(field: Field, kind: Type) -> int | float:
    if kind == "f32":
        return field.sentinels[0] if field.sentinels else float("nan")
    return int(field.sentinels[0]) if field.sentinels else 0
