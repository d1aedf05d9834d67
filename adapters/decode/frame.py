"""Grammar `frame`: a stream of bytes in, readings and faults out; and values in, one frame out. No I/O here.

A frame that does not hold is never skipped as a whole: the search goes on one byte behind its header, because a lost byte puts
the next good frame inside the bad one.
"""

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from struct import Struct as Layout

from adapters.decode.checksums import checker, writer
from adapters.decode.reading import Fault, Judge, Number, Plan, Reading, Result, plan_of
from adapters.profile import SIZES, Field, FrameWire, Order, Profile, State, Type, default_type
from readings.errors import Drop

CODES: Mapping[Type, str] = {"u8": "B", "s8": "b", "u16": "H", "s16": "h", "u32": "I", "s32": "i", "f32": "f"}
_CHECKSUM, _LENGTH = Fault("bad_checksum"), Fault("bad_length")


class FrameDecoder:
    """Keeps the open end of the stream between two calls, never more than one frame."""

    def __init__(self, profile: Profile) -> None:
        wire = profile.wire
        assert isinstance(wire, FrameWire)  # noqa: S101  # the caller chose by grammar
        self.plan: Plan = plan_of(profile)
        self.skipped = 0
        self._start = bytes(wire.start)
        self._header = self._start[: wire.length_at] if wire.length_at else self._start
        self._length = wire.length
        self._whole: Callable[[bytes], bool] = checker(wire.check) if wire.check else lambda frame: True
        self._read = _reader(profile, self.plan)
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
                results.append(_LENGTH)
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
                results.append(_CHECKSUM)
                self.skipped += 1
                at = found + 1
        self._open = stream[max(found, at) :] if found < end else b""
        return results

    def finish(self) -> list[Result]:
        cut = self._open.startswith(self._header)
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


def _reader(profile: Profile, plan: Plan) -> Callable[[bytes], Result]:
    """frame -> reading, or the fault that its state bytes mean."""
    unpack = _unpacker([profile.fields[name] for name in plan.names], profile)
    judge = Judge(profile, plan)
    states = [
        (_at(state), _at(state) + len(state.bytes), bytes(state.bytes), Fault(name))
        for name, several in profile.states.items()
        for state in several
    ]
    careful = any(judge.sentinels) or any(scale.times == 0 for scale in plan.scales)
    rules, good = judge.rules, plan.good
    watched = tuple({at for rule in rules for at in rule.zero[:1]})

    def read(frame: bytes) -> Result:
        for at, end, means, fault in states:
            if frame[at:end] == means:
                return fault
        numbers = unpack(frame)
        if careful:
            return judge.judge(numbers, {}, {})
        for at in watched:
            if numbers[at] == 0:
                return judge.judge(numbers, {}, {})
        return Reading(plan, numbers, good)

    return read


def _unpacker(fields: Sequence[Field], profile: Profile) -> Callable[[bytes], tuple[Number, ...]]:
    """One precompiled layout for all fields where they lie side by side; several where they overlap or differ in byte order."""
    groups: list[tuple[str, list[tuple[int, Field]]]] = []
    for index, field in sorted(enumerate(fields), key=lambda item: _at(item[1])):
        order = _order(field, profile)
        for group_order, members in groups:
            last = members[-1][1]
            if group_order == order and _at(last) + _size(last, profile) <= _at(field):
                members.append((index, field))
                break
        else:
            groups.append((order, [(index, field)]))
    layouts = [_layout(order, [field for _, field in members], profile).unpack_from for order, members in groups]
    indexes = [index for _, members in groups for index, _ in members]
    if indexes == sorted(indexes) and len(layouts) == 1:
        return layouts[0]
    place = itemgetter(*[indexes.index(index) for index in range(len(fields))]) if len(fields) > 1 else tuple
    return lambda frame: place(tuple(number for unpack in layouts for number in unpack(frame)))


def _layout(order: str, fields: Sequence[Field], profile: Profile) -> Layout:
    parts, at = [">" if order == "big" else "<"], 0
    for field in fields:
        if _at(field) > at:
            parts.append(f"{_at(field) - at}x")
        parts.append(CODES[_type(field, profile)])
        at = _at(field) + _size(field, profile)
    return Layout("".join(parts))


def _at(field: Field | State) -> int:
    assert isinstance(field.at, int)  # noqa: S101  # profile.py refuses others
    return field.at


def _type(field: Field, profile: Profile) -> Type:
    return field.type or default_type(profile.wire)


def _size(field: Field, profile: Profile) -> int:
    return SIZES[_type(field, profile)]


def _order(field: Field, profile: Profile) -> Order:
    return field.order or (profile.wire.order if isinstance(profile.wire, FrameWire) else "big")


def raw_of(name: str, value: float, kind: Type, plan: Plan, at: int) -> int | float:
    """The raw number on the wire that means a value [canonical unit]. Raises Drop where it does not fit its type."""
    scale = plan.scales[at]
    raw = (value - scale.offset) / scale.factor
    if kind == "f32":
        return raw
    whole, (low, high) = round(raw), _span(kind)
    if not low <= whole <= high:
        raise Drop(f"{value} does not fit a {kind}", what=name)
    return whole


def _span(kind: Type) -> tuple[int, int]:
    bits = 8 * SIZES[kind]
    return (0, 2**bits - 1) if kind.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def encoder(profile: Profile) -> Callable[[Mapping[str, float | int | str]], bytes]:
    """values [canonical units] -> one frame, checksum and fixed bytes included. A missing value is its sentinel, else zero."""
    wire = profile.wire
    assert isinstance(wire, FrameWire)  # noqa: S101  # the caller chose by grammar
    plan = plan_of(profile)
    template = bytearray(wire.length)
    template[: len(wire.start)] = wire.start
    for offset, fixed in wire.fixed.items():
        template[int(offset) : int(offset) + len(fixed)] = fixed
    write = writer(wire.check) if wire.check else None
    fields = [(name, profile.fields[name]) for name in plan.names]

    def encode(values: Mapping[str, float | int | str]) -> bytes:
        frame = bytearray(template)
        for index, (name, field) in enumerate(fields):
            kind, value = _type(field, profile), values.get(name)
            raw = _absent(field, kind) if value is None else raw_of(name, float(value), kind, plan, index)
            Layout((">" if _order(field, profile) == "big" else "<") + CODES[kind]).pack_into(frame, _at(field), raw)
        if write:
            write(frame)
        return bytes(frame)

    return encode


def _absent(field: Field, kind: Type) -> int | float:
    if not field.sentinels:
        return 0
    return field.sentinels[0] if kind == "f32" else int(field.sentinels[0])
