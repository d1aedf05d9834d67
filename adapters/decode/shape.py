"""One kind of frame: where it begins, how long it is, whether it is whole, and what it means. Bytes of a frame in, a result out.

Prepared once per profile and message; a frame of whole numbers that lie in a row costs one call of a precompiled layout.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from struct import Struct as Layout
from typing import Any

from adapters.decode.checksums import checker
from adapters.decode.reading import Fault, Judge, Number, Plan, Reading, Result, least_flags, plan_of
from adapters.profile import MAX_FRAME, SIZES, Field, FrameWire, Message, Profile, State, Status, Type

# fmt: off
CODES: Mapping[Type, str] = {
    "u8": "B", "s8": "b", "u16": "H", "s16": "h", "u24": "3s", "s24": "3s", "u32": "I", "s32": "i", "u64": "Q", "s64": "q",
    "f32": "f", "f64": "d",
}
# fmt: on
"""Of a precompiled layout; three bytes are made a number afterwards."""
CHECKSUM, LENGTH, TAIL = Fault("bad_checksum"), Fault("bad_length"), Fault("bad_tail")
Test = Callable[[bytes], bool]


class Shape:
    """`wire` and what follows from it. `size` tells a frame's length from its first bytes, None while they are too few."""

    def __init__(self, profile: Profile, message: Message | None = None) -> None:
        wire = (message or profile).wire
        assert isinstance(wire, FrameWire)  # noqa: S101  # the caller chose by grammar
        self.wire = wire
        self.plan = plan_of(profile, message)
        self.start = wire.start
        self.header = type(wire.start)(wire.start[: wire.length_at]) if wire.length_at else wire.start
        self.header.known = wire.start.known[: len(self.header)]
        self.read = reader(profile, message, self.plan)
        self._right: Test = checker(wire.check) if wire.check else lambda frame: True
        self._end = end = bytes(wire.end)
        right = self._right
        self.whole: Test = (lambda frame: frame.endswith(end) and right(frame)) if end else right

    @property
    def certainty(self) -> int:
        """How many of its first bytes are known: of two kinds that fit, the more certain one is meant."""
        return sum(self.start.known)

    def size(self, data: bytes) -> int | None:
        """Of the frame that these bytes begin; 0 for a length that cannot be."""
        if self.wire.length is not None:
            return self.wire.length
        assert self.wire.length_from is not None  # noqa: S101  # profile.py demands one of the two
        place = self.wire.length_from
        width = SIZES[place.type]
        if len(data) < place.at + width:
            return None
        size = int.from_bytes(data[place.at : place.at + width], place.order) + place.plus
        return size if max(len(self.start), 2) <= size <= MAX_FRAME else 0

    def wrong(self, frame: bytes) -> Fault | None:
        """What is wrong with a frame of the right length."""
        if self._end and not frame.endswith(self._end):
            return TAIL
        return None if self._right(frame) else CHECKSUM


def shapes_of(profile: Profile) -> list[Shape]:
    """The profile's own kind of frame, then its messages', the most certain first."""
    messages = [message for message in profile.messages.values() if isinstance(message.wire, FrameWire)]
    found = [Shape(profile), *(Shape(profile, message) for message in messages)]
    return sorted(found, key=lambda shape: -shape.certainty)


def pattern_of(shapes: Sequence[Shape]) -> "re.Pattern[bytes]":
    """Finds any of their headers."""
    alternatives = []
    for shape in shapes:
        pairs = zip(shape.header, shape.header.known, strict=True)
        alternatives.append(b"".join(re.escape(bytes((byte,))) if known else b"." for byte, known in pairs))
    return re.compile(b"|".join(alternatives), re.DOTALL)


def reader(profile: Profile, message: Message | None, plan: Plan) -> Callable[[bytes], Result]:
    """frame -> reading, or the fault that its state bytes mean."""
    part = message or profile
    wire = part.wire
    assert isinstance(wire, FrameWire)  # noqa: S101  # the caller chose by grammar
    unpack = _numbers(part.fields, plan, wire)
    texts = [(name, _texter(field, wire)) for name, field in part.fields.items() if field.type == "text"]
    judge = Judge(profile, plan, message)
    states = [tell for name, several in part.states.items() for tell in (_state(name, state, wire) for state in several)]
    marks = [(name, _marked(status, wire), least_flags(status, plan)) for name, status in part.status.items()]
    partial = any(name not in part.fields for name in plan.names)
    careful = bool(texts or marks or partial) or any(judge.sentinels) or any(scale.times == 0 for scale in plan.scales)
    rules, good = judge.rules, plan.good
    watched = tuple({at for rule in rules for at in rule.zero[:1]})
    empty = not part.fields

    def read(frame: bytes) -> Result:
        for tell in states:
            if fault := tell(frame):
                return fault
        if empty:
            return Fault("bad_field", "no state that its profile knows")
        numbers = unpack(frame)
        if careful:
            held = [(name, least) for name, test, least in marks if test(frame)]
            said = {name: text for name, find in texts if (text := find(frame))}
            return judge.judge(numbers, said, {}, [name for name, _ in held], [least for _, least in held])
        for at in watched:
            if numbers[at] == 0:
                return judge.judge(numbers, {}, {})
        return Reading(plan, numbers, good)

    return read


def _state(name: str, state: State, wire: FrameWire) -> Callable[[bytes], Fault | None]:
    """frame -> the fault that this state is, while it holds."""
    at = _at(state)
    if state.bytes:
        wanted = bytes(state.bytes)
        fault = Fault(f"{state.code}:0x{wanted.hex().upper()}" if name == "error" else name)
        return lambda frame: fault if frame[at : at + len(wanted)] == wanted else None
    number = _word(at, state.type, wire)
    says = number if state.says is None else _word(_whole_number(state.says), state.type, wire)

    def tell(frame: bytes) -> Fault | None:
        found = number(frame)
        if not _holds(state, found):
            return None
        said = f"0x{int(says(frame) or 0):02X}"
        return Fault(f"{state.code}:{said}") if name == "error" else Fault(name, said if name == "ack" else "")

    return tell


def _holds(state: State, found: int | float | None) -> bool:
    if found is None:
        return state.present is False
    if state.equals or state.differs:
        return found in state.equals if state.equals else found not in state.differs
    return bool(int(found) & state.mask) if state.mask else state.present is True


def _marked(status: Status, wire: FrameWire) -> Test:
    number = _word(_at(status), status.type, wire)

    def holds(frame: bytes) -> bool:
        found = number(frame)
        if found is None:
            return False
        if status.bit is not None:
            return bool(int(found) >> status.bit & 1)
        return found in status.equals if status.equals else found not in status.differs

    return holds


def _word(at: int, kind: Type | None, wire: FrameWire) -> Callable[[bytes], int | float | None]:
    """frame -> the number there; None behind its end."""
    kind = kind or (wire.type if wire.type not in ("f32", "f64") else "u8")
    size, order = SIZES[kind], wire.order
    if kind in ("f32", "f64"):
        layout = Layout((">" if order == "big" else "<") + CODES[kind])
        return lambda frame: layout.unpack_from(frame, at)[0] if at + size <= len(frame) else None
    signed = kind.startswith("s")

    def number(frame: bytes) -> int | None:
        return int.from_bytes(frame[at : at + size], order, signed=signed) if at + size <= len(frame) else None

    return number


def _texter(field: Field, wire: FrameWire) -> Callable[[bytes], str]:
    """frame -> the printable text from a byte on: `size` bytes of it, or up to a zero byte, the checksum or the end."""
    at, size, check = _at(field), field.size, wire.check

    def text(frame: bytes) -> str:
        stop = len(frame) - len(wire.end)
        if check is not None:
            stop = min(stop, check.at % len(frame))
        held = frame[at : at + size] if size else frame[at:stop].partition(b"\0")[0]
        return "".join(letter for letter in held.decode("latin-1") if letter.isprintable()).strip()

    return text


def _numbers(fields: Mapping[str, Field], plan: Plan, wire: FrameWire) -> Callable[[bytes], tuple[Number, ...]]:
    """frame -> the numbers in the plan's order, None for those that this kind of frame does not hold."""
    names = [name for name in plan.names if name in fields]
    mine = [fields[name] for name in names]
    if not mine:
        return lambda frame: (None,) * len(plan.names)
    unpack = _unpacker(mine, wire)
    mends = [(at, mend) for at, field in enumerate(mine) if (mend := _mend(field, wire))]
    if mends:
        unpack = _mended(unpack, mends)
    if len(names) == len(plan.names):
        return unpack
    place = [names.index(name) if name in names else -1 for name in plan.names]
    return lambda frame: tuple(map((*unpack(frame), None).__getitem__, place))


def _mended(unpack: Callable[[bytes], tuple[Any, ...]], mends: Sequence[tuple[int, Callable[[Any], int]]]) -> Any:
    def mended(frame: bytes) -> tuple[Number, ...]:
        numbers = list(unpack(frame))
        for at, mend in mends:
            numbers[at] = mend(numbers[at])
        return tuple(numbers)

    return mended


def _mend(field: Field, wire: FrameWire) -> Callable[[Any], int] | None:
    """What a layout cannot do: three bytes as a number, some bits of one."""
    kind, order = field.type or wire.type, field.order or wire.order
    low, mask = (field.bits[0], (2 << field.bits[1] - field.bits[0]) - 1) if field.bits else (0, 0)
    if kind in ("u24", "s24"):
        signed = kind == "s24"
        if mask:
            return lambda raw: int.from_bytes(raw, order, signed=signed) >> low & mask
        return lambda raw: int.from_bytes(raw, order, signed=signed)
    return (lambda raw: int(raw) >> low & mask) if mask else None


def _unpacker(fields: Sequence[Field], wire: FrameWire) -> Callable[[bytes], tuple[Any, ...]]:
    """One precompiled layout for all fields where they lie side by side; several where they overlap or differ in byte order."""
    groups: list[tuple[str, list[tuple[int, Field]]]] = []
    for index, field in sorted(enumerate(fields), key=lambda item: _at(item[1])):
        order = field.order or wire.order
        for group_order, members in groups:
            last = members[-1][1]
            if group_order == order and _at(last) + _size(last, wire) <= _at(field):
                members.append((index, field))
                break
        else:
            groups.append((order, [(index, field)]))
    layouts = [_layout(order, [field for _, field in members], wire).unpack_from for order, members in groups]
    indexes = [index for _, members in groups for index, _ in members]
    if indexes == sorted(indexes) and len(layouts) == 1:
        return layouts[0]
    place = itemgetter(*[indexes.index(index) for index in range(len(fields))]) if len(fields) > 1 else tuple
    return lambda frame: place(tuple(number for unpack in layouts for number in unpack(frame)))


def _layout(order: str, fields: Sequence[Field], wire: FrameWire) -> Layout:
    parts, at = [">" if order == "big" else "<"], 0
    for field in fields:
        if _at(field) > at:
            parts.append(f"{_at(field) - at}x")
        parts.append(CODES[field.type or wire.type])
        at = _at(field) + _size(field, wire)
    return Layout("".join(parts))


def _at(held: Field | State | Status) -> int:
    return _whole_number(held.at)


def _whole_number(at: object) -> int:
    assert isinstance(at, int)  # noqa: S101  # profile.py refuses others
    return at


def _size(field: Field, wire: FrameWire) -> int:
    return SIZES[field.type or wire.type]
