"""A firmware profile: YAML in, typed fields out, or every mistake with file, line, key and what is allowed.

A profile says how one device speaks, as data only: closed lists of grammars, checksums, types, units; no expressions. Its id is
`<maker>.<model>`, its file `<maker>/<model>.yaml`. The keys of the file are the names of the Structs' fields below.
"""

import re
from collections.abc import Mapping
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from adapters.document import Node, Reader, entries
from readings.errors import Drop, Retry
from readings.parameters import PARAMETERS
from readings.units import CONVERSIONS, UNITS, Linear, linear, spelled

PROFILE_ID = re.compile(r"[a-z0-9][a-z0-9-]*\.[a-z0-9][a-z0-9-]*")
TEXTS = ("firmware", "model", "serial")
"""Names a field of `type: text` may have: metadata, never a reading."""
WIRE_UNITS = UNITS | {wire for wire, _ in CONVERSIONS}
Span = tuple[float, float]
Order = Literal["big", "little"]
Words = Literal["high_first", "low_first"]
Type = Literal["u8", "s8", "u16", "s16", "u32", "s32", "f32", "number", "text"]
SIZES: Mapping[str, int] = {"u8": 1, "s8": 1, "u16": 2, "s16": 2, "u32": 4, "s32": 4, "f32": 4}
"""Bytes of each binary type; `number` and `text` stand in JSON only."""
Checksum = Literal["sum16", "sum8", "twos8", "inv8", "xor8", "crc16_modbus"]
Count = Annotated[int, Meta(ge=0, le=65535)]


class Hex(bytes):
    """Bytes written as `42 4d 00 1c`."""

    allowed = "bytes as pairs of hex digits: 42 4d 00 1c"


class Link(Struct, frozen=True, forbid_unknown_fields=True):
    """Line settings of a serial device, and how long an answer may take [s]."""

    baud: Literal[1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200] = 9600
    parity: Literal["none", "even", "odd"] = "none"
    data_bits: Literal[7, 8] = 8
    stop_bits: Literal[1, 2] = 1
    reply_timeout_s: Annotated[float, Meta(gt=0, le=60)] = 3.0

    @property
    def line(self) -> tuple[int, str, int, int]:
        """What two sensors on one port must agree on."""
        return (self.baud, self.parity, self.data_bits, self.stop_bits)


class Check(Struct, frozen=True, forbid_unknown_fields=True):
    """A checksum by name over the bytes `start` up to `end` (default: up to `at`), standing at byte `at`."""

    sum: Checksum
    at: Count
    start: Count = 0
    end: Count | None = None
    order: Order = "big"


class FrameWire(Struct, frozen=True, forbid_unknown_fields=True, tag_field="grammar", tag="frame"):
    """Frames of fixed length behind fixed first bytes.

    `length_at`: from there on the start bytes are the length field, so that a header followed by others counts as bad_length.
    `fixed`: bytes that every real device sends there and that mean nothing to us; the encoder writes them, nobody checks them.
    """

    start: Hex
    length: Annotated[int, Meta(ge=4, le=1024)]
    check: Check | None = None
    length_at: Count | None = None
    order: Order = "big"
    type: Type = "u16"
    fixed: dict[str, Hex] = {}


class RegisterWire(Struct, frozen=True, forbid_unknown_fields=True, tag_field="grammar", tag="registers"):
    """Modbus registers, 0-based. Neighbours go into one request of at most `max_words`; holes up to `gap` words are bridged."""

    function: Literal[3, 4] = 4
    type: Type = "u16"
    order: Order = "big"
    words: Words = "high_first"
    max_words: Annotated[int, Meta(ge=2, le=125)] = 80
    gap: Annotated[int, Meta(ge=0, le=64)] = 0
    crc_order: Order = "little"


class JsonWire(Struct, frozen=True, forbid_unknown_fields=True, tag_field="grammar", tag="jsonpath"):
    """One JSON object per answer; a field's `at` is its dotted path, or a list of them: firmwares rename keys.

    `fixed`: further entries that a real device's answer holds, for the encoder.
    """

    fixed: dict[str, str | int | float | bool] = {}


Wire = FrameWire | RegisterWire | JsonWire


class Field(Struct, frozen=True, forbid_unknown_fields=True):
    """One number (or text) of an answer. In a file, step, precision, range and effective are in `unit`, the unit on the wire.

    value = raw * scale + offset, in `unit`. `step`: the wire's own step of a JSON number; `precision`: what the maker states for
    a float; one of the two for types that do not imply it. A loaded Profile's `range` and `effective` are in the canonical unit.
    """

    at: int | str | tuple[str, ...]
    type: Type | None = None
    unit: str = ""
    order: Order | None = None
    words: Words | None = None
    scale: float = 1.0
    offset: float = 0.0
    step: Annotated[float, Meta(gt=0)] | None = None
    precision: Annotated[float, Meta(gt=0)] | None = None
    sentinels: tuple[float, ...] = ()
    range: Span | None = None
    effective: Span | None = None
    place: Literal["ambient", "internal"] = "ambient"
    period_s: Annotated[int, Meta(ge=0, le=86400)] = 0


class State(Struct, frozen=True, forbid_unknown_fields=True):
    """Bytes from `at` on that say: this answer is whole and right, yet holds no reading."""

    at: Count
    bytes: Hex


class Doubt(Struct, frozen=True, forbid_unknown_fields=True):
    """A reading that contradicts itself: any of `positive` above zero while all of `zero` are zero, or all of `absent` absent.

    Its values are kept; those named get the flag suspect, and its name is counted.
    """

    positive: tuple[str, ...] = ()
    zero: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


class Profile(Struct, frozen=True, forbid_unknown_fields=True):
    """One device as data. `id` in the file is the key `profile`; `sha256` and `file` come from the loader."""

    id: str = msgspec.field(name="profile")
    models: tuple[str, ...]
    wire: Wire
    fields: dict[str, Field]
    link: Link = Link()
    ask: Hex | None = None
    probe: bool = False
    warmup_s: Annotated[float, Meta(ge=0, le=3600)] = 0.0
    states: dict[Literal["warming_up", "no_data"], State] = {}
    doubts: dict[str, Doubt] = {}
    caveats: tuple[str, ...] = ()
    sha256: str = msgspec.field(default="", name="-sha256")
    file: str = msgspec.field(default="", name="-file")

    @property
    def maker(self) -> str:
        return self.id.partition(".")[0]

    @property
    def model(self) -> str:
        return self.id.partition(".")[2]

    @property
    def numbers(self) -> tuple[str, ...]:
        """The parameters this device gives, in the file's order."""
        return tuple(name for name, field in self.fields.items() if field.type != "text")


def load(path: Path) -> Profile:
    """Raises Mistakes; Retry when the file cannot be read."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise Retry(str(error.strerror), what=str(path), hint="is it there, and may this user read it?") from error
    return parse(raw, path)


def parse(raw: bytes, path: Path) -> Profile:
    """The profile that these bytes of `path` hold. Raises Mistakes."""
    reader = Reader(path)
    top = reader.document(raw)
    parts = entries(reader, top, Profile, hook=_hex) if top is not None else {}
    if top is not None:
        _Rules(reader, top, parts, path).check()
    reader.done()
    parts["fields"] = {name: _canonical(name, field) for name, field in parts["fields"].items()}
    return Profile(**parts, sha256=sha256(raw).hexdigest(), file=str(path))


def _hex(kind: type, value: Any) -> Any:
    """msgspec's hook for Hex. A lone byte reads as a number in YAML: its digits count."""
    if kind is not Hex:
        raise NotImplementedError(kind)
    text = str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
    if not re.fullmatch(r"[0-9a-fA-F]{2}( ?[0-9a-fA-F]{2})*", text):
        raise ValueError("no hex bytes")
    return Hex(bytes.fromhex(text))


def conversion(name: str, field: Field) -> Linear:
    """canonical = raw * scale + offset, exact: the field's own scale and offset, then its unit into the parameter's."""
    unit = linear(field.unit, PARAMETERS[name].unit)
    scale, offset = Fraction(str(field.scale)), Fraction(str(field.offset))
    return Linear(scale * unit.scale, offset * unit.scale + unit.offset)


def _canonical(name: str, field: Field) -> Field:
    """`range` and `effective` into the parameter's canonical unit."""
    if field.type == "text" or spelled(field.unit) == PARAMETERS[name].unit:
        return field
    unit = linear(field.unit, PARAMETERS[name].unit)

    def into(span: Span | None) -> Span | None:
        return span and (float(span[0] * unit.scale + unit.offset), float(span[1] * unit.scale + unit.offset))

    return msgspec.structs.replace(field, range=into(field.range), effective=into(field.effective))


class _Rules:
    """What types cannot say: names that must exist, bytes that must lie within the frame, steps that must be known.

    Works on whatever entries are right, so that one run names all mistakes.
    """

    def __init__(self, reader: Reader, top: Node, parts: Mapping[str, Any], path: Path) -> None:
        self.reader, self.top, self.path = reader, top, path
        self.id: str = parts.get("id", "")
        self.models: tuple[str, ...] | None = parts.get("models")
        self.wire: Wire | None = parts.get("wire")
        self.fields: dict[str, Field] = parts.get("fields", {})
        self.states: dict[str, State] = parts.get("states", {})
        self.doubtful: dict[str, Doubt] = parts.get("doubts", {})

    def wrong(self, keys: tuple[str, ...], why: str, allowed: str = "") -> None:
        node, line = self.top, self.top.line
        for key in keys:
            if isinstance(node.value, dict) and key in node.value:
                line, node = node.lines[key], node.value[key]
        self.reader.wrong(line, ".".join(keys), why, allowed)

    def check(self) -> None:
        maker, model = self.path.parent.name, self.path.stem
        if self.id and not PROFILE_ID.fullmatch(self.id):
            self.wrong(("profile",), f"{self.id!r} is no id", "<maker>.<model>: lower-case letters, digits and dashes")
        elif self.id and self.id != f"{maker}.{model}":
            self.wrong(
                ("profile",), f"{self.id!r} stands in {maker}/{model}.yaml", f"its file is {self.id.replace('.', '/')}.yaml"
            )
        if self.models == ():
            self.wrong(("models",), "empty", "the names printed on the device")
        if "fields" in self.top.value and self.top.value["fields"].value == {}:
            self.wrong(("fields",), "empty", "at least one parameter")
        for name, field in self.fields.items():
            self.field(name, field)
            if self.wire is not None:
                self.place(("fields", name), field, self.wire)
        self.doubts()
        if isinstance(self.wire, FrameWire):
            self.frame(self.wire)
        elif self.wire is not None and self.states:
            self.wrong(("states",), "bytes that mean a state", "known for grammar frame")

    def field(self, name: str, field: Field) -> None:
        key = ("fields", name)
        if field.type == "text":
            if name not in TEXTS:
                self.wrong(key, "is no known text", f"one of {', '.join(TEXTS)}")
        elif name not in PARAMETERS:
            self.wrong(key, "is no known parameter", "the list is readings/parameters.yaml; a profile may not invent one")
        elif spelled(field.unit) not in WIRE_UNITS:
            unit = PARAMETERS[name].unit
            ways = sorted({wire for wire, canonical in CONVERSIONS if canonical == unit} | {unit})
            self.wrong((*key, "unit"), f"{field.unit!r} is no known unit", f"one of {', '.join(map(repr, ways))}")
        else:
            self.number(key, name, field)
        for span in ("range", "effective"):
            bounds = getattr(field, span)
            if bounds and not bounds[0] < bounds[1]:
                self.wrong((*key, span), f"{list(bounds)} is no span", "[low, high], low below high")

    def number(self, key: tuple[str, ...], name: str, field: Field) -> None:
        try:
            linear(field.unit, PARAMETERS[name].unit)
        except Drop as drop:
            self.wrong((*key, "unit"), drop.why, drop.hint)
        if field.scale == 0 or not abs(field.scale) < 1e12 or not abs(field.offset) < 1e12:
            self.wrong((*key, "scale"), "no usable scale and offset", "finite numbers; the scale is not 0")
        kind = field.type or (default_type(self.wire) if self.wire is not None else None)
        if kind in ("f32", "number") and (field.step is None) == (field.precision is None):
            self.wrong(key, f"a {kind} has no step of its own", "step: 0.01 (the wire's), or precision: 0.1 (the maker's)")
        if kind not in (None, "f32", "number") and (field.step or field.precision):
            self.wrong(key, f"the step of a {kind} is its scale", "leave step and precision out")

    def place(self, key: tuple[str, ...], field: Field, wire: Wire) -> None:
        """Whether `at` and `type` fit the grammar."""
        kind = field.type or default_type(wire)
        if isinstance(wire, JsonWire):
            paths = (field.at,) if isinstance(field.at, str) else field.at
            if not isinstance(paths, tuple) or not paths or not all(re.fullmatch(r"[^.\s]+(\.[^.\s]+)*", path) for path in paths):
                self.wrong((*key, "at"), f"{field.at!r} is no JSON path", "dotted keys, pm.0.value, or a list of them")
            if kind not in ("number", "text"):
                self.wrong((*key, "type"), f"{kind} does not stand in JSON", "number or text")
            return
        if not isinstance(field.at, int) or field.at < 0:
            self.wrong(
                (*key, "at"),
                f"{field.at!r} is no {'byte' if isinstance(wire, FrameWire) else 'register'}",
                "a whole number from 0",
            )
        if kind not in SIZES or (isinstance(wire, RegisterWire) and SIZES[kind] < 2):
            self.wrong(
                (*key, "type"),
                f"{kind} does not stand in grammar {_grammar(wire)}",
                "one of u16, s16, u32, s32, f32, in frames also u8, s8",
            )
        elif isinstance(wire, FrameWire) and isinstance(field.at, int) and field.at + SIZES[kind] > wire.length:
            self.wrong(
                (*key, "at"), f"byte {field.at} + {SIZES[kind]} lies behind the frame", f"the frame has {wire.length} bytes"
            )
        elif isinstance(wire, RegisterWire) and isinstance(field.at, int) and field.at > 65534:
            self.wrong((*key, "at"), f"register {field.at} does not exist", "0 to 65534")
        if isinstance(wire, FrameWire) and field.words is not None:
            self.wrong((*key, "words"), "a frame has no registers", "order: big or little")

    def frame(self, wire: FrameWire) -> None:
        if not 0 < len(wire.start) < wire.length:
            self.wrong(("wire", "start"), f"{len(wire.start)} bytes", f"fewer than length, {wire.length}")
        if wire.length_at is not None and not 0 < wire.length_at < len(wire.start):
            self.wrong(("wire", "length_at"), f"byte {wire.length_at}", "a byte within `start`, not its first")
        if wire.check is not None:
            size = 2 if wire.check.sum in ("sum16", "crc16_modbus") else 1
            end = wire.check.at if wire.check.end is None else wire.check.end
            if wire.check.at + size > wire.length or not wire.check.start < end <= wire.length:
                self.wrong(("wire", "check"), "lies behind the frame", f"the frame has {wire.length} bytes")
        for at, fixed in wire.fixed.items():
            if not at.isdecimal() or int(at) + len(fixed) > wire.length:
                self.wrong(("wire", "fixed", at), "lies behind the frame", f"a byte offset below {wire.length}")
        for name, state in self.states.items():
            if state.at + len(state.bytes) > wire.length:
                self.wrong(("states", name), "lies behind the frame", f"the frame has {wire.length} bytes")

    def doubts(self) -> None:
        written = self.top.value["fields"].value if "fields" in self.top.value else None
        known = [name for name in written if name not in TEXTS] if isinstance(written, dict) else []
        for name, doubt in self.doubtful.items():
            for parameter in (*doubt.positive, *doubt.zero, *doubt.absent):
                if parameter not in known:
                    self.wrong(("doubts", name), f"{parameter!r} is no number of this profile", f"one of {', '.join(known)}")
            if not (doubt.positive and doubt.zero) and not doubt.absent:
                self.wrong(("doubts", name), "no rule", "positive and zero, or absent: lists of parameters")


def default_type(wire: Wire) -> Type:
    """The type of a field that names none."""
    return "number" if isinstance(wire, JsonWire) else wire.type


def _grammar(wire: Wire) -> str:
    return str(wire.__struct_config__.tag)
