"""Grammar `registers`: Modbus answers in, readings out; values in, a register image out. No I/O here.

A value's registers are never split over two requests: read apart, the two halves may belong to different moments (an EPEver meter
gave -655.36 A that way). Messages of a profile are further tables of the same device, read with another function.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from struct import Struct as Layout
from struct import pack

from msgspec import Struct

from adapters.decode.frame import CODES, raw_of
from adapters.decode.modbus import Answers, Block, Expected, Request, register
from adapters.decode.reading import Fault, Judge, Number, Plan, Reading, Result, least_flags, plan_of
from adapters.profile import SIZES, Field, Message, Order, Profile, RegisterWire, State, Status, Type, default_type

Image = Mapping[int, int]
"""Register (adapters.decode.modbus.register) -> 16-bit word."""
WORD_CODES: Mapping[Type, str] = {**CODES, "u64": "Q", "s64": "q", "f64": "d"}
CLOCK_WORDS = 3


class Place(Struct, frozen=True):
    """Where something stands: its registers in a row, and where each of its bytes is found there, highest first."""

    first: int
    words: int
    kind: Type
    bytes: tuple[tuple[int, int], ...]

    @property
    def registers(self) -> range:
        return range(self.first, self.first + self.words)

    def number(self, image: Image) -> Number:
        """None where a register is not in the image."""
        if any(at not in image for at in self.registers):
            return None
        raw = bytes(image[at] & 0xFF if low else image[at] >> 8 for at, low in self.bytes)
        number: int | float = Layout(">" + WORD_CODES[self.kind]).unpack(raw)[0]
        return number

    def put(self, image: dict[int, int], raw: int | float) -> None:
        for (at, low), byte in zip(self.bytes, pack(">" + WORD_CODES[self.kind], raw), strict=True):
            image[at] = image.get(at, 0) | byte << (0 if low else 8)


def _place(wire: RegisterWire, at: object, kind: Type, order: Order | None = None, words: str | None = None) -> Place:
    assert isinstance(at, int)  # noqa: S101  # profile.py refuses others
    first, count = register(wire.function, at), SIZES[kind] // 2
    row = range(first, first + count)
    spots: list[tuple[int, int]] = []
    for one in row if (words or wire.words) == "high_first" else reversed(row):
        spots += [(one, 0), (one, 1)] if (order or wire.order) == "big" else [(one, 1), (one, 0)]
    return Place(first, count, kind, tuple(spots))


def _whole(wire: RegisterWire, kind: Type | None) -> Type:
    """The type of a status word: what it says, else the wire's where that is a whole number."""
    return kind or (wire.type if wire.type not in ("f32", "f64") else "u16")


class _Number(Struct, frozen=True):
    name: str
    field: Field
    place: Place


class _Text(Struct, frozen=True):
    name: str
    field: Field
    registers: range


class _Table(Struct, frozen=True):
    """What one kind of answer holds: the profile's own, or a message's."""

    wire: RegisterWire
    numbers: tuple[_Number, ...]
    texts: tuple[_Text, ...]
    states: tuple[tuple[str, State, Place], ...]
    status: tuple[tuple[str, Status, Place], ...]

    def rows(self) -> Iterator[range]:
        yield from (number.place.registers for number in self.numbers)
        yield from (text.registers for text in self.texts)
        yield from (place.registers for _, _, place in (*self.states, *self.status))


def _tables(profile: Profile) -> list[_Table]:
    parts: tuple[Profile | Message, ...] = (profile, *profile.messages.values())
    return [_table(part, part.wire) for part in parts if isinstance(part.wire, RegisterWire)]


def _table(part: Profile | Message, wire: RegisterWire) -> _Table:
    numbers: list[_Number] = []
    texts: list[_Text] = []
    for name, field in part.fields.items():
        kind = field.type or default_type(wire)
        if kind in ("text", "time") or field.builtin == "packed_clock":
            assert isinstance(field.at, int)  # noqa: S101  # profile.py refuses others
            first = register(wire.function, field.at)
            texts.append(_Text(name, field, range(first, first + (field.size or CLOCK_WORDS))))
        else:
            numbers.append(_Number(name, field, _place(wire, field.at, kind, field.order, field.words)))
    states = [
        (name, state, _place(wire, state.at, _whole(wire, state.type)))
        for name, several in part.states.items()
        for state in several
    ]
    status = [(name, one, _place(wire, one.at, _whole(wire, one.type))) for name, one in part.status.items()]
    return _Table(wire, tuple(numbers), tuple(texts), tuple(states), tuple(status))


def requests_of(profile: Profile) -> tuple[Request, ...]:
    """Neighbouring registers share a request, up to `max_words`; no value is ever parted."""
    found: list[Request] = []
    for table in _tables(profile):
        merged: list[tuple[int, int]] = []
        for lo, hi in sorted({(row.start, row.stop) for row in table.rows()}):
            near = merged and lo <= merged[-1][1] + table.wire.gap
            if merged and (lo < merged[-1][1] or (near and hi - merged[-1][0] <= table.wire.max_words)):
                merged[-1] = (merged[-1][0], max(hi, merged[-1][1]))
            else:
                merged.append((lo, hi))
        found += [Request(lo >> 16, lo & 0xFFFF, hi - lo) for lo, hi in merged]
    return tuple(dict.fromkeys(found))


class RegisterDecoder:
    """`read` takes words by register, as a transport collected them; `feed` takes raw answers to `expected`."""

    def __init__(self, profile: Profile, expected: Expected | None = None, *, crc_order: Order | None = None) -> None:
        wire = profile.wire
        assert isinstance(wire, RegisterWire)  # noqa: S101  # the caller chose by grammar
        self.plan: Plan = plan_of(profile)
        self.requests = requests_of(profile)
        self.crc_order: Order = crc_order or wire.crc_order
        self.skipped = 0
        self._judge = Judge(profile, self.plan)
        tables = _tables(profile)
        placed = {number.name: number for table in reversed(tables) for number in table.numbers}
        self._places = [placed[name].place for name in self.plan.names]
        self._known = {at for table in tables for row in table.rows() for at in row}
        self._texts = [text for table in tables for text in table.texts]
        self._states = [state for table in tables for state in table.states]
        self._status = [(name, one, place, least_flags(one, self.plan)) for table in tables for name, one, place in table.status]
        self._prepare([placed[name].field for name in self.plan.names])
        self.expected = expected or Expected()

    def _prepare(self, fields: Sequence[Field]) -> None:
        """One layout over all numbers' bytes, in the plan's order."""
        self._addresses = sorted({at for place in self._places for at in place.registers})
        index = {at: 2 * number for number, at in enumerate(self._addresses)}
        spots = [index[at] + low for place in self._places for at, low in place.bytes]
        self._bytes = itemgetter(*spots) if spots else lambda packed: ()
        self._pack = Layout(f">{len(self._addresses)}H").pack
        self._unpack = Layout(">" + "".join(WORD_CODES[place.kind] for place in self._places)).unpack
        self._cuts = [
            (at, field.bits[0], (2 << field.bits[1] - field.bits[0]) - 1) for at, field in enumerate(fields) if field.bits
        ]

    @property
    def expected(self) -> Expected:
        """What raw answers are held against."""
        return self._expected

    @expected.setter
    def expected(self, expected: Expected) -> None:
        self._expected = expected
        self._answers = Answers(expected, self.crc_order)

    def read(self, image: Image) -> Result:
        """The reading, or the fault that a state register means."""
        for name, state, place in self._states:
            raw = place.number(image)
            if _holds(state, raw):
                return Fault(f"{state.code}:{raw}" if name == "error" else name)
        return self.reading(image)

    def reading(self, image: Image) -> Reading:
        """Fields whose registers are not in the image are missing."""
        words = [image.get(address) for address in self._addresses]
        packed = self._pack(*[word or 0 for word in words])
        numbers: Sequence[Number] = self._unpack(bytes(self._bytes(packed)))
        if self._cuts:
            numbers = list(numbers)
            for at, low, mask in self._cuts:
                numbers[at] = int(numbers[at] or 0) >> low & mask
        if None in words:
            numbers = [
                number if all(address in image for address in place.registers) else None
                for number, place in zip(numbers, self._places, strict=True)
            ]
        held = [(name, marks) for name, status, place, marks in self._status if _holds(status, place.number(image))]
        texts = self._words(image) if self._texts else {}
        return self._judge.judge(numbers, texts, {}, [name for name, _ in held], [marks for _, marks in held])

    def _words(self, image: Image) -> dict[str, str]:
        found: dict[str, str] = {}
        for text in self._texts:
            if all(at in image for at in text.registers):
                words = [image[at] for at in text.registers]
                said = _clock(words) if text.field.builtin == "packed_clock" else _text(words)
                if said:
                    found[text.name] = said
        return found

    def feed(self, data: bytes) -> list[Result]:
        found: list[Result] = []
        for answer in self._answers.feed(data):
            if isinstance(answer, Fault):
                found.append(answer)
            elif self._known.isdisjoint(image := answer.image):
                found.append(Fault("schema_mismatch", "none of this profile's registers is in the answer"))
            else:
                found.append(self.read(image))
        self.skipped = self._answers.skipped
        return found

    def finish(self) -> list[Result]:
        return list(self._answers.finish())

    def reset(self) -> None:
        self.expected = self._expected


def _holds(test: State | Status, raw: Number) -> bool:
    """Whether a register says what a state or status waits for."""
    if raw is None:
        return False
    if test.equals:
        return raw in test.equals
    if test.differs:
        return raw not in test.differs
    if isinstance(test, Status):
        return test.bit is not None and bool(int(raw) >> test.bit & 1)
    if test.mask:
        return bool(int(raw) & test.mask)
    if test.bytes:
        return int(raw).to_bytes(2, "big", signed=raw < 0) == test.bytes
    return False


def _clock(words: Sequence[int]) -> str:
    """mm:ss, dd:hh, yy:MM (EPEver 1733 protocol, 0x9013) as RFC 3339 without an offset; '' where it is no time."""
    minute, second, day, hour, year, month = (byte for word in words[:CLOCK_WORDS] for byte in (word >> 8, word & 0xFF))
    if not (minute < 60 and second < 60 and hour < 24 and 1 <= day <= 31 and 1 <= month <= 12 and year < 100):
        return ""
    return f"20{year:02}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"


def _unclock(said: str) -> list[int]:
    """The three registers that hold `2015-07-02T02:24:05`."""
    date, _, clock = said[:19].partition("T")
    year, month, day = (int(part) for part in date.split("-"))
    hour, minute, second = (int(part) for part in clock.split(":"))
    return [minute << 8 | second, day << 8 | hour, year % 100 << 8 | month]


def _text(words: Sequence[int]) -> str:
    raw = b"".join(word.to_bytes(2, "big") for word in words).partition(b"\0")[0]
    return "".join(letter if letter.isprintable() else " " for letter in raw.decode("latin-1")).strip()


def encoder(profile: Profile) -> Callable[[Mapping[str, float | int | str]], dict[int, int]]:
    """values [canonical units] and texts -> the registers that hold them. A missing value is its sentinel, else zero (f32: NaN).

    Status and state registers hold what means that all is well: zero, or the first number that is asked for.
    """
    plan = plan_of(profile)
    index = {name: at for at, name in enumerate(plan.names)}
    tables = _tables(profile)

    def encode(values: Mapping[str, float | int | str]) -> dict[int, int]:
        image: dict[int, int] = {}
        for table in tables:
            tests: tuple[tuple[str, State | Status, Place], ...] = (*table.states, *table.status)
            for _, test, place in tests:
                if not any(at in image for at in place.registers):
                    place.put(image, int(test.differs[0]) if test.differs else 0)
            for text in table.texts:
                words = _said(text, str(values.get(text.name, "")))
                image.update(zip(text.registers, words, strict=True))
            for number in table.numbers:
                kind, value = number.place.kind, values.get(number.name)
                raw = (
                    _absent(number.field, kind)
                    if value is None
                    else raw_of(number.name, float(value), kind, plan, index[number.name])
                )
                if not number.field.bits:
                    image.update(dict.fromkeys(number.place.registers, 0))
                number.place.put(image, int(raw) << number.field.bits[0] if number.field.bits else raw)
        return image

    return encode


def _said(text: _Text, said: str) -> list[int]:
    if text.field.builtin == "packed_clock":
        return _unclock(said) if said else [0] * CLOCK_WORDS
    raw = said.encode("latin-1", "replace")[: 2 * len(text.registers)].ljust(2 * len(text.registers), b"\0")
    return [int.from_bytes(raw[at : at + 2], "big") for at in range(0, len(raw), 2)]


def _absent(field: Field, kind: Type) -> int | float:
    if kind in ("f32", "f64"):
        return field.sentinels[0] if field.sentinels else float("nan")
    return int(field.sentinels[0]) if field.sentinels else 0


__all__ = ["Block", "Expected", "Image", "RegisterDecoder", "Request", "encoder", "requests_of"]
