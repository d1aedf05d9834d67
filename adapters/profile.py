"""A firmware profile: YAML in, typed fields out, or every mistake with file, line, key and what is allowed.

A profile says how one device speaks, as data only: closed lists of grammars, checksums, types, units; no expressions. Its id is
`<maker>.<model>`, its file `<maker>/<model>.yaml`. The keys of the file are the names of the Structs' fields below.

One language for all grammars; a grammar adds keys to its own wire Struct and reads the shared ones:
- `at` is where a thing stands, in `fields`, `states` and `status` alike: byte offset, register, column, JSON path.
- `states` are answers that are whole and hold no reading; `status` are bits and words beside a reading that mark it.
- A device that gives several kinds of answer has `messages`: each with the wire keys that differ and its own fields. Its samples
  have the channels of all of them; what an answer does not hold is missing in it.
- A field's name is a parameter of readings/parameters.yaml, or `<group>.<parameter>` where one box has several instruments
  (`bme280.temperature`): the group is a word of its own, the parameter decides unit and range. Channels of one instrument are
  parameters by themselves (`pm2_5_a`, `pm2_5_cf1_s2`).
- A device that depends on firmware, board or setting has one file per variant: `extends` the common one, says what differs, and
  `when` it is the right one. Mappings are merged, everything else is replaced, null takes an entry away.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from adapters import linerules
from adapters.document import Node, Reader, entries, merged
from adapters.paths import ALLOWED as paths_allowed
from adapters.paths import parsed
from readings.errors import Drop, Retry, Stop
from readings.parameters import PARAMETERS
from readings.units import CONVERSIONS, UNITS, Linear, linear, spelled

PROFILE_ID = re.compile(r"[a-z0-9][a-z0-9-]*\.[a-z0-9][a-z0-9-]*")
TEXTS = ("firmware", "model", "serial", "device_info", "block", "status", "node", "location", "heater_state", "sensor_index")
"""Names a field of `type: text` may have: metadata, never a reading."""
TIMES = ("timestamp", "timestamp_local", "device_clock_local", "period_start", "period_end", "weather_timestamp")
"""Names a field of `type: time` may have; its text is RFC 3339, without an offset where the device knows none."""
MAX_EXTENDS = 4
FLOATING = ("f32", "f64", "number")
"""Types whose own step nobody knows: the file says it."""
WIRE_UNITS = UNITS | {wire for wire, _ in CONVERSIONS}
Span = tuple[float, float]
Order = Literal["big", "little"]
Words = Literal["high_first", "low_first"]
Type = Literal["u8", "s8", "u16", "s16", "u24", "s24", "u32", "s32", "u64", "s64", "f32", "f64", "hex", "number", "text", "time"]
# fmt: off
SIZES: Mapping[str, int] = {
    "u8": 1, "s8": 1, "u16": 2, "s16": 2, "u24": 3, "s24": 3, "u32": 4, "s32": 4, "u64": 8, "s64": 8, "f32": 4, "f64": 8,
}
# fmt: on
"""Bytes of each binary type; `number` stands in text and JSON, `text` and `time` give no number."""
Builtin = Literal["packed_clock", "nmea_degrees", "unit_word"]
"""Named decoders, the only escape: EPEver's clock (mm:ss, dd:hh, yy:MM in three registers), NMEA's ddmm.mmmm with N, S, E, W in
the next column, the unit's own word as a text (Vaisala says its heater's state so)."""
Tail = Literal["xor_hex", "bcc_xor", "sum8_hex", "sum16_hex", "vaisala_crc3"]
Checksum = Literal["sum16", "sum8", "twos8", "inv8", "xor8", "crc8", "crc16_modbus", "crc16_8408", "crc16_1021"]
Count = Annotated[int, Meta(ge=0, le=65535)]
Place = Annotated[int, Meta(ge=-64, le=65535)]
MAX_FRAME = 1024


class Hex(bytes):
    """Bytes written as `42 4d 00 1c`."""

    allowed = "bytes as pairs of hex digits: 42 4d 00 1c"


class Command(Struct, frozen=True, forbid_unknown_fields=True):
    """What is sent to the device: bytes (`send`) or characters (`text`), and what it answers to them.

    `expect`, `expect_text`: must stand in the answer within `timeout_s` [s], else the device did not obey; `refused`: an answer
    that says no. Afterwards the device is left alone for `pause_s` [s]. In grammar registers `send` is the request without unit
    and checksum. Written short: `ask: 42 4d e2 00 00 01 71`; several, sent one after the other: a list.
    """

    shorthand: ClassVar[str] = "send"
    send: Hex = Hex()
    text: str = ""
    expect: Hex = Hex()
    expect_text: str = ""
    refused: Hex = Hex()
    timeout_s: Annotated[float, Meta(gt=0, le=60)] = 1.0
    pause_s: Annotated[float, Meta(ge=0, le=60)] = 0.0

    @property
    def data(self) -> bytes:
        """The bytes to send."""
        return bytes(self.send) or self.text.encode("latin-1", "replace")

    @property
    def answer(self) -> bytes:
        """What its answer must hold; empty: nothing is waited for."""
        return bytes(self.expect) or self.expect_text.encode("latin-1", "replace")


Commands = tuple[Command, ...]


class Pattern(Hex):
    """First bytes of an answer: `81 ..` is a fixed byte and one that may be anything. `known` names the fixed ones."""

    allowed = "bytes as pairs of hex digits, .. for any byte: 42 4d .. 1c"
    known: tuple[bool, ...] = ()

    @property
    def literal(self) -> bool:
        return all(self.known)

    def fits(self, data: bytes) -> bool:
        """Whether this data may be the beginning of, or begin with, these bytes."""
        return all(not known or mine == theirs for known, mine, theirs in zip(self.known, self, data, strict=False))


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
    """A checksum by name over the bytes `start` up to `end` (default: up to `at`), standing at byte `at`.

    `at` and `end` count from the frame's end when they are negative, for frames of several lengths.
    """

    sum: Checksum
    at: Place
    start: Count = 0
    end: Place | None = None
    order: Order = "big"


class LengthFrom(Struct, frozen=True, forbid_unknown_fields=True):
    """A frame that says its own length: the number at byte `at`, and `plus` bytes that it does not count."""

    at: Count
    type: Literal["u8", "u16"] = "u8"
    order: Order = "big"
    plus: Annotated[int, Meta(ge=-64, le=MAX_FRAME)] = 0


class FrameWire(Struct, frozen=True, forbid_unknown_fields=True, tag_field="grammar", tag="frame"):
    """Frames behind known first bytes: of a fixed `length`, or of one that stands in them (`length_from`).

    `start` may be empty where a transport delivers whole answers (SPI). `end`: its last bytes. `stuffing: shdlc`: frames between
    two 7e, in which 7d 5e, 7d 5d, 7d 31, 7d 33 stand for 7e, 7d, 11, 13; all offsets count in the frame as it was before, its
    first 7e being byte 0.
    `length_at`: from there on the start bytes are the length field, so that a header followed by others counts as bad_length.
    `fixed`: bytes that every real device sends there and that mean nothing to us; the encoder writes them, nobody checks them.
    """

    start: Pattern = Pattern()
    length: Annotated[int, Meta(ge=2, le=MAX_FRAME)] | None = None
    length_from: LengthFrom | None = None
    end: Hex = Hex()
    stuffing: Literal["none", "shdlc"] = "none"
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


class More(Struct, frozen=True, forbid_unknown_fields=True):
    """Where an answer says that it goes on: `next` holds true or an address, or `page` is below `pages`."""

    next: str = ""
    page: str = ""
    pages: str = ""


class JsonWire(Struct, frozen=True, forbid_unknown_fields=True, tag_field="grammar", tag="jsonpath"):
    """One JSON answer; a field's `at` is its path (adapters/paths.py), or a list of them: the first that holds something.

    `rows`: where the readings stand, with `[]` at its end a list of them; several: the first there. Paths of fields and of
    status start at the row, those of states at the whole answer. `columns`: each row is a list, and the names of its places stand
    there. `newest`: only the row with the newest time at this path counts. `more`: notes `more_pages`. `quoted`: numbers are
    written as text. `missing`: words that mean a missing number. `split`: between the parts of a text (`part` of a field).
    `sparse`: no device has all of the fields, and a sensor has the channels of those that it has given. `fixed`: further entries
    that a real device's answer holds, for the encoder.
    """

    rows: tuple[str, ...] = ()
    columns: str = ""
    newest: str = ""
    more: More | None = None
    quoted: bool = False
    missing: tuple[str, ...] = ()
    split: Annotated[str, Meta(min_length=1, max_length=3)] = ","
    sparse: bool = False
    fixed: dict[str, str | int | float | bool] = {}


class LineCheck(Struct, frozen=True, forbid_unknown_fields=True):
    """The checksum of a line. It stands behind the last `mark`, without one in its last characters; `after_end`: behind the end.

    xor_hex and sum8_hex (2 hex digits), sum16_hex (4) and vaisala_crc3 (3 characters) are made over what stands between start
    and mark, bcc_xor (2 hex digits) over start and end as well. `only`: lines that begin so have one, others have none.
    """

    sum: Tail
    mark: str = ""
    after_end: bool = False
    only: tuple[str, ...] = ()


class LinesWire(Struct, frozen=True, forbid_unknown_fields=True, tag_field="grammar", tag="lines"):
    """Lines of text, from `start` (default: from wherever the last one ended) to `end`, in columns parted by `split`.

    `split`: " " is any run of blanks, "" is one column. `begins`: only lines that begin so, `?` for any one character; a list of
    them. `columns`: what `at` of a field names: `position` (from 0), `header` (a title in the line that the instrument sends
    itself, whose first title is `header`; units stand in brackets there), `key` (what stands before `pair`), `xdr` (type_id of
    NMEA's groups type, value, unit, id). `count`: how many columns a whole line has. `ignore`: beginnings of lines that say
    nothing. `invalid`: words in a unit's place that say the digits are no value. `join`: the column whose text is the same in
    the lines that make one reading. `sparse`: no device writes all of the fields, and a sensor has the channels of those that it
    has given. `titles`, `fixed` (by column): what a real device writes there, for the encoder.
    `longest`: characters of a line.
    """

    start: str = ""
    end: str = "\n"
    split: str = ","
    begins: tuple[str, ...] = ()
    columns: Literal["position", "header", "key", "xdr"] = "position"
    header: str = ""
    pair: str = "="
    count: tuple[int, ...] = ()
    check: LineCheck | None = None
    ignore: tuple[str, ...] = ()
    invalid: tuple[str, ...] = ()
    join: int | None = None
    sparse: bool = False
    longest: Annotated[int, Meta(ge=16, le=4096)] = 512
    titles: str = ""
    fixed: dict[str, str] = {}


Wire = FrameWire | RegisterWire | JsonWire | LinesWire


class Field(Struct, frozen=True, forbid_unknown_fields=True):
    """One number (or text) of an answer. In a file, step, precision, range and effective are in `unit`, the unit on the wire.

    value = raw * scale + offset, in `unit`. `step`: the wire's own step of a JSON number; `precision`: what the maker states for
    a float; one of the two for types that do not imply it. `bits`: [lowest, highest] of a whole number, the others mean something
    else. `size`: bytes of a text (registers: words); without it a text goes on to a zero byte or its answer's end.
    A loaded Profile's `range` and `effective` are in the canonical unit.

    In lines: `units`: the units that the device writes beside its numbers, by its own words for them; `unit_at`: the column
    where it does, if not behind the number or in the header; `form`: how a time is written (%Y %y %m %b %d %H %M %S, the year
    of two digits from 1980 on); `beside`: a second column that is read behind the first and a blank.

    In JSON: `unit_at`: the path where the answer names the unit, in the words of `units` or its own; `scale_at`: the path
    of a word that says which of `scales` the number is multiplied by; `part`: that one of the parts of a text, from 0; `when`:
    only where one of these words stands at each of these paths; `required`: without it the answer is a schema_mismatch.
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
    bits: tuple[int, int] | None = None
    size: Annotated[int, Meta(ge=1, le=255)] | None = None
    builtin: Builtin | None = None
    units: dict[str, str] = {}
    unit_at: int | str | None = None
    required: bool = False
    when: dict[str, tuple[str | int | float | bool, ...]] = {}
    part: Annotated[int, Meta(ge=0, le=255)] | None = None
    scale_at: str | None = None
    scales: dict[str, float] = {}
    form: str = ""
    beside: int | None = None


class State(Struct, frozen=True, forbid_unknown_fields=True):
    """What stands at `at` says: this answer is whole and right, yet holds no reading.

    One of: `bytes` (these stand there), `equals` (one of these numbers or words), `differs` (anything but these), `mask` (any
    bit of it is set), `present` (true: anything is there, false: nothing). An error is told as `device_error:<what stands
    there>`; `says`: where its own word stands, `code`: another first word (`api_error`).
    """

    at: int | str = 0
    type: Type | None = None
    bytes: Hex = Hex()
    equals: tuple[int | float | str, ...] = ()
    differs: tuple[int | float | str, ...] = ()
    mask: Annotated[int, Meta(ge=0, le=0xFFFFFFFF)] = 0
    present: bool | None = None
    says: int | str | None = None
    code: Literal["device_error", "api_error"] = "device_error"


StateName = Literal["warming_up", "no_data", "no_fix", "error", "ack"]


class Status(Struct, frozen=True, forbid_unknown_fields=True):
    """One bit, or one number or word, beside a reading. When it stands there its name is noted and values are flagged.

    `bit`: 0 is the lowest; or `equals`: one of these; or `differs`: anything but these. `flag`: what the values of `of` (default:
    all) become; good: the name is noted, no more.
    """

    at: int | str
    type: Type | None = None
    bit: Annotated[int, Meta(ge=0, le=31)] | None = None
    equals: tuple[int | float | str, ...] = ()
    differs: tuple[int | float | str, ...] = ()
    flag: Literal["good", "suspect", "fail"] = "suspect"
    of: tuple[str, ...] = ()


class Doubt(Struct, frozen=True, forbid_unknown_fields=True):
    """A reading that contradicts itself: any of `positive` above zero while all of `zero` are zero, or all of `absent` absent.

    Or two channels of one quantity lie `apart`: by more than `by` [canonical unit] and more than `percent` of their mean.
    Its values are kept; those named get the flag suspect, and its name is counted.
    """

    positive: tuple[str, ...] = ()
    zero: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    apart: tuple[str, str] | None = None
    by: Annotated[float, Meta(ge=0)] = 0.0
    percent: Annotated[float, Meta(ge=0, le=200)] = 0.0


class Message(Struct, frozen=True, forbid_unknown_fields=True):
    """Another kind of answer of the same device: `wire` holds what differs from the profile's own (or all of another grammar)."""

    wire: Wire
    fields: dict[str, Field] = {}
    states: dict[StateName, tuple[State, ...]] = {}
    status: dict[str, Status] = {}


class Profile(Struct, frozen=True, forbid_unknown_fields=True):
    """One device as data. `id` in the file is the key `profile`; `sha256` and `file` come from the loader.

    `open` is sent with the opened port, `wake` before a sample of a device that we put to sleep (`sleep`), `ask` for each sample,
    `close` before the port is closed. `probe`: asking harms no other device, so `detect` may. `path`: of a device's own page,
    as in /measures/current. `discard_first`: so many readings after `open` or `wake` count as warming up.
    `rest_above_s`: sampled more rarely than this [s], it sleeps in between. `min_every_s`: asked more often it would suffer.
    """

    id: str = msgspec.field(name="profile")
    models: tuple[str, ...]
    source: tuple[str, ...]
    wire: Wire
    fields: dict[str, Field]
    extends: str = ""
    when: dict[str, tuple[str | int | float | bool, ...]] = {}
    messages: dict[str, Message] = {}
    link: Link = Link()
    open: Commands = ()
    wake: Commands = ()
    ask: Commands = ()
    sleep: Commands = ()
    close: Commands = ()
    probe: bool = False
    path: str = ""
    warmup_s: Annotated[float, Meta(ge=0, le=3600)] = 0.0
    discard_first: Annotated[int, Meta(ge=0, le=100)] = 0
    rest_above_s: Annotated[float, Meta(ge=0, le=86400)] | None = None
    min_every_s: Annotated[float, Meta(ge=0, le=86400)] = 0.0
    reduce: Literal["last", "mean"] = "last"
    states: dict[StateName, tuple[State, ...]] = {}
    status: dict[str, Status] = {}
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
        """The parameters this device gives, in the file's order, those of further messages last."""
        return tuple(name for name, field in self.every.items() if field.type not in ("text", "time"))

    @property
    def every(self) -> dict[str, Field]:
        """All fields, of all messages: what the first that names one says of it."""
        found = dict(self.fields)
        for message in self.messages.values():
            for name, field in message.fields.items():
                found.setdefault(name, field)
        return found


Find = Callable[[str], Path]
"""Where the profile of this id stands. Raises Stop."""


def load(path: Path, find: Find | None = None) -> Profile:
    """Raises Mistakes; Retry when the file cannot be read."""
    return parse(_bytes(path), path, find)


def parse(raw: bytes, path: Path, find: Find | None = None) -> Profile:
    """The profile that these bytes of `path` hold; `find` leads to those that it extends. Raises Mistakes."""
    reader = Reader(path)
    top, digest = _inherited(reader, raw, path, find or _beside(path), ())
    if top is not None:
        _counted_in_hex(top)
    parts = entries(reader, top, Profile, hook=_hex) if top is not None else {}
    if top is not None:
        _Rules(reader, top, parts, path).check()
    reader.done()
    parts["fields"] = {name: _canonical(name, field) for name, field in parts["fields"].items()}
    parts["messages"] = {name: _canonical_message(message) for name, message in parts.get("messages", {}).items()}
    return Profile(**parts, sha256=digest, file=str(path))


def _counted_in_hex(node: Node) -> None:
    """`at: 0x3100`, as tables of registers have it, becomes a number; only there, because bytes are hex as well."""
    below = node.value.items() if isinstance(node.value, dict) else enumerate(node.value) if isinstance(node.value, list) else ()
    for key, inner in list(below):
        if key == "at" and isinstance(inner.value, str) and re.fullmatch("0x[0-9a-fA-F]{1,4}", inner.value):
            node.value[key] = Node(int(inner.value, 16), inner.line)
        else:
            _counted_in_hex(inner)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Retry(str(error.strerror), what=str(path), hint="is it there, and may this user read it?") from error


def _beside(path: Path) -> Find:
    """Profiles of the same folder, else a path that does not exist there either."""
    return lambda profile_id: path.parent.parent / f"{profile_id.replace('.', '/', 1)}.yaml"


def _inherited(reader: Reader, raw: bytes, path: Path, find: Find, seen: tuple[str, ...]) -> tuple[Node | None, str]:
    """The top mapping with everything that it inherits and its messages' wires completed; the digest covers all files read."""
    top = reader.document(raw)
    digest = sha256(raw).hexdigest()
    if top is None:
        return None, digest
    if "extends" in top.value:
        base, base_digest = _base(reader, top, find, seen)
        digest = sha256(f"{base_digest} {digest}".encode()).hexdigest()
        if base is None:
            return None, digest
        top = merged(base, top, top.lines["extends"])
    return (_with_whole_wires(top) if not seen else top), digest


def _base(reader: Reader, top: Node, find: Find, seen: tuple[str, ...]) -> tuple[Node | None, str]:
    """What a file extends, without the keys that are a file's own."""
    name, line = top.value["extends"].value, top.lines["extends"]
    if not isinstance(name, str) or not PROFILE_ID.fullmatch(name):
        reader.wrong(line, "extends", f"{name!r} is no id", "<maker>.<model> of the profile that this one changes")
        return None, ""
    if name in seen or len(seen) >= MAX_EXTENDS:
        why = f"{' -> '.join((*seen, name))} goes round" if name in seen else f"more than {MAX_EXTENDS} files deep"
        reader.wrong(line, "extends", why, "extend a profile that extends nothing itself")
        return None, ""
    try:
        path = find(name)
        raw = path.read_bytes()
    except OSError as error:
        reader.wrong(line, "extends", f"no profile {name}: {(error.strerror or str(error)).lower()}", "the id of a known profile")
        return None, ""
    except Stop as stop:
        reader.wrong(line, "extends", f"profile {name} {stop.why}", stop.hint)
        return None, ""
    inner = Reader(path)
    base, digest = _inherited(inner, raw, path, find, (*seen, name))
    reader.found += inner.found
    if base is not None:
        own = {key: node for key, node in base.value.items() if key not in ("when", "extends")}
        base = Node(own, base.line, {key: base.lines[key] for key in own})
    return base, digest


def _with_whole_wires(top: Node) -> Node:
    """Each message's wire completed from the profile's own, unless it has a grammar of its own."""
    wire, messages = top.value.get("wire"), top.value.get("messages")
    if wire is None or messages is None or not isinstance(wire.value, dict) or not isinstance(messages.value, dict):
        return top
    whole: dict[str, Node] = {}
    for name, message in messages.value.items():
        if isinstance(message.value, dict):
            line = messages.lines[name]
            own = message.value.get("wire", Node({}, line))
            if isinstance(own.value, dict) and "grammar" not in own.value:
                own = merged(wire, own, line)
            message = Node({**message.value, "wire": own}, message.line, {"wire": line, **message.lines})
        whole[name] = message
    kept = Node(whole, messages.line, messages.lines)
    return Node({**top.value, "messages": kept}, top.line, top.lines)


def _hex(kind: type, value: Any) -> Any:
    """msgspec's hook for Hex. A lone byte reads as a number in YAML: its digits count."""
    if kind not in (Hex, Pattern):
        raise NotImplementedError(kind)
    text = str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
    pair = "([0-9a-fA-F]{2}|[.]{2})" if kind is Pattern else "[0-9a-fA-F]{2}"
    if not re.fullmatch(f"{pair}( ?{pair})*", text):
        raise ValueError("no hex bytes")
    if kind is Hex:
        return Hex(bytes.fromhex(text))
    pattern = Pattern(bytes.fromhex(text.replace("..", "00")))
    pairs = text.replace(" ", "")
    pattern.known = tuple(pairs[at : at + 2] != ".." for at in range(0, len(pairs), 2))
    return pattern


def unit_of(name: str, field: Field) -> str:
    """The unit that its values are stored in. Raises Drop where no exact way leads from the wire's."""
    return PARAMETERS[name].unit_from(field.unit)


def conversion(name: str, field: Field) -> Linear:
    """canonical = raw * scale + offset, exact: the field's own scale and offset, then its unit into the parameter's."""
    unit = linear(field.unit, unit_of(name, field))
    scale, offset = Fraction(str(field.scale)), Fraction(str(field.offset))
    return Linear(scale * unit.scale, offset * unit.scale + unit.offset)


def _canonical_message(message: Message) -> Message:
    return msgspec.structs.replace(message, fields={name: _canonical(name, field) for name, field in message.fields.items()})


def _canonical(name: str, field: Field) -> Field:
    """`range` and `effective` into the parameter's canonical unit."""
    if field.type in ("text", "time") or spelled(field.unit) == PARAMETERS[name].unit:
        return field
    unit = linear(field.unit, unit_of(name, field))

    def into(span: Span | None) -> Span | None:
        return span and (float(span[0] * unit.scale + unit.offset), float(span[1] * unit.scale + unit.offset))

    return msgspec.structs.replace(field, range=into(field.range), effective=into(field.effective))


class _Rules:
    """What types cannot say: names that must exist, bytes that must lie within the frame, steps that must be known.

    Works on whatever entries are right, so that one run names all mistakes.
    """

    def __init__(self, reader: Reader, top: Node, parts: Mapping[str, Any], path: Path) -> None:
        self.reader, self.top, self.path = reader, top, path
        self.parts, self.guessed = parts, Reader(path)
        self.id: str = parts.get("id", "")
        main = _Part(
            (), parts.get("wire") or self.wire(), parts.get("fields", {}), parts.get("states", {}), parts.get("status", {})
        )
        self.kinds = [main]
        for name, message in parts.get("messages", {}).items():
            self.kinds.append(_Part(("messages", name), message.wire, message.fields, message.states, message.status))

    def wire(self) -> Wire | None:
        """A wire with a mistake as far as it is right: its fields are held against it all the same."""
        node = self.top.value.get("wire")
        if node is None or not isinstance(node.value, dict) or "grammar" not in node.value:
            return None
        grammar = node.value["grammar"].value
        shape = next((shape for shape in get_args(Wire) if shape.__struct_config__.tag == grammar), None)
        return shape(**entries(self.guessed, node, shape, hook=_hex)) if shape is not None else None

    def wrong(self, keys: tuple[str, ...], why: str, allowed: str = "") -> None:
        node, line = self.top, self.top.line
        for key in keys:
            if isinstance(node.value, dict) and key in node.value:
                line, node = node.lines[key], node.value[key]
        self.reader.wrong(line, ".".join(keys), why, allowed)

    def say(self, mistakes: Iterable[linerules.Mistake]) -> None:
        for keys, why, allowed in mistakes:
            self.wrong(keys, why, allowed)

    def check(self) -> None:
        self.identity()
        if "fields" in self.top.value and self.top.value["fields"].value == {}:
            self.wrong(("fields",), "empty", "at least one parameter")
        for key in ("open", "wake", "ask", "sleep", "close"):
            for command in self.parts.get(key, ()):
                self.command(key, command)
        for kind in self.kinds:
            self.kind(kind)
        self.doubts()

    def identity(self) -> None:
        maker, model = self.path.parent.name, self.path.stem
        if self.id and not PROFILE_ID.fullmatch(self.id):
            self.wrong(("profile",), f"{self.id!r} is no id", "<maker>.<model>: lower-case letters, digits and dashes")
        elif self.id and self.id != f"{maker}.{model}":
            self.wrong(
                ("profile",), f"{self.id!r} stands in {maker}/{model}.yaml", f"its file is {self.id.replace('.', '/')}.yaml"
            )
        if self.parts.get("models") == ():
            self.wrong(("models",), "empty", "the names printed on the device")
        if not all(self.parts.get("source", ("x",))) or self.parts.get("source") == ():
            self.wrong(("source",), "empty", "the manual with its page, or the code with its commit, that says so")
        if self.parts.get("when") and not self.parts.get("extends"):
            self.wrong(("when",), "a variant of nothing", "extends: the profile that this one is a variant of")
        if self.parts.get("rest_above_s") is not None and not (self.parts.get("wake") and self.parts.get("sleep")):
            self.wrong(("rest_above_s",), "no way to sleep and wake", "wake and sleep: the commands for it")

    def command(self, key: str, command: Command) -> None:
        if bool(command.send) == bool(command.text):
            self.wrong((key,), "what is to be sent?", 'send: 42 4d e2 (bytes), or text: "0R0\\r\\n" (characters)')
        if command.expect and command.expect_text:
            self.wrong((key,), "expect stands there twice", "expect: bytes, or expect_text: characters")

    def kind(self, kind: "_Part") -> None:
        """One kind of answer."""
        for name, field in kind.fields.items():
            self.field((*kind.keys, "fields", name), name, field, kind.wire)
            if kind.wire is not None:
                self.place((*kind.keys, "fields", name), field, kind.wire)
        if kind.keys and not kind.fields and not kind.states:
            self.wrong(kind.keys, "an answer without a meaning", "fields that it holds, or states that it tells")
        for state_name, states in kind.states.items():
            for state in states:
                self.state((*kind.keys, "states", state_name), state, kind.wire)
        for name, status in kind.status.items():
            self.status((*kind.keys, "status", name), status, kind)
        if isinstance(kind.wire, FrameWire) and not self.guessed.found:
            self.frame(kind, kind.wire)
        if isinstance(kind.wire, JsonWire):
            self.json_wire((*kind.keys, "wire"), kind.wire)
        if isinstance(kind.wire, LinesWire):
            self.say(linerules.of_wire((*kind.keys, "wire"), kind.wire, self.kinds[0].wire))

    def state(self, key: tuple[str, ...], state: State, wire: Wire | None) -> None:
        tests = [bool(state.bytes), bool(state.equals), bool(state.differs), bool(state.mask), state.present is not None]
        if sum(tests) != 1:
            self.wrong(key, "no single test", "one of bytes, equals, differs, mask, present")
        if wire is not None:
            self.condition(key, state.at, state.type, wire)

    def status(self, key: tuple[str, ...], status: Status, kind: "_Part") -> None:
        if sum((status.bit is not None, bool(status.equals), bool(status.differs))) != 1:
            self.wrong(key, "no single test", "one of bit, equals, differs")
        known = [name for name, field in kind.fields.items() if field.type not in ("text", "time")]
        for parameter in status.of:
            if parameter not in known:
                self.wrong((*key, "of"), f"{parameter!r} is no number of this answer", f"one of {', '.join(known)}")
        if kind.wire is not None:
            self.condition(key, status.at, status.type, kind.wire)

    def condition(self, key: tuple[str, ...], at: int | str, type_: Type | None, wire: Wire) -> None:
        """Whether a state or a status looks at something that this grammar has."""
        if isinstance(wire, LinesWire):
            self.say(linerules.of_test(key, at, type_, wire))
        numbered = isinstance(wire, (FrameWire, RegisterWire))
        if isinstance(wire, JsonWire):
            self.json_paths((*key, "at"), (at,))
        if numbered and (not isinstance(at, int) or at < 0):
            place = "byte" if isinstance(wire, FrameWire) else "register"
            self.wrong((*key, "at"), f"{at!r} is no {place}", "a whole number from 0")
        if numbered and type_ in ("number", "text", "time"):
            self.wrong((*key, "type"), f"{type_} does not stand in grammar {_grammar(wire)}", f"one of {', '.join(SIZES)}")

    def field(self, key: tuple[str, ...], name: str, field: Field, wire: Wire | None) -> None:
        for kind, names in (("text", TEXTS), ("time", TIMES)):
            if field.type == kind and name not in names:
                self.wrong(key, f"is no known {kind}", f"one of {', '.join(names)}")
        if field.type in ("text", "time"):
            pass
        elif name not in PARAMETERS:
            self.wrong(key, "is no known parameter", _likely_parameter(name))
        elif spelled(field.unit) not in WIRE_UNITS:
            unit = PARAMETERS[name].unit
            ways = sorted({wire for wire, canonical in CONVERSIONS if canonical == unit} | {unit})
            self.wrong((*key, "unit"), f"{field.unit!r} is no known unit", f"one of {', '.join(map(repr, ways))}")
        else:
            self.number(key, name, field, wire)
        for span in ("range", "effective"):
            bounds = getattr(field, span)
            if bounds and not bounds[0] < bounds[1]:
                self.wrong((*key, span), f"{list(bounds)} is no span", "[low, high], low below high")

    def number(self, key: tuple[str, ...], name: str, field: Field, wire: Wire | None) -> None:
        try:
            unit_of(name, field)
        except Drop as drop:
            self.wrong((*key, "unit"), drop.why, drop.hint)
        if field.scale == 0 or not abs(field.scale) < 1e12 or not abs(field.offset) < 1e12:
            self.wrong((*key, "scale"), "no usable scale and offset", "finite numbers; the scale is not 0")
        kind = field.type or (default_type(wire) if wire is not None else None)
        if kind in FLOATING and (field.step is None) == (field.precision is None):
            self.wrong(key, f"a {kind} has no step of its own", "step: 0.01 (the wire's), or precision: 0.1 (the maker's)")
        if kind is not None and kind not in FLOATING and (field.step or field.precision):
            self.wrong(key, f"the step of a {kind} is its scale", "leave step and precision out")
        if field.bits is not None and (kind in FLOATING or not 0 <= field.bits[0] <= field.bits[1] < 64):
            self.wrong((*key, "bits"), f"{list(field.bits)} of a {kind}", "[lowest, highest] bit of a whole number, 0 the lowest")

    def place(self, key: tuple[str, ...], field: Field, wire: Wire) -> None:
        """Whether `at` and `type` fit the grammar."""
        kind = field.type or default_type(wire)
        if not isinstance(wire, JsonWire):
            for name in ("required", "when", "part", "scale_at", "scales"):
                if getattr(field, name) not in (None, False, {}):
                    self.wrong((*key, name), f"is not known in grammar {_grammar(wire)}", "it is for grammar jsonpath")
        if isinstance(wire, JsonWire):
            self.json_field(key, field)
            if kind not in ("number", "text", "time"):
                self.wrong((*key, "type"), f"{kind} does not stand in JSON", "number, text or time")
        elif isinstance(wire, LinesWire):
            self.say(linerules.of_field(key, field, kind, wire))
        elif isinstance(wire, RegisterWire):
            self.register(key, field, kind)
        elif isinstance(wire, FrameWire):
            self.byte(key, field, kind)

    def json_field(self, key: tuple[str, ...], field: Field) -> None:
        paths = (field.at,) if isinstance(field.at, str) else field.at
        if not isinstance(paths, tuple) or not paths:
            self.wrong((*key, "at"), f"{field.at!r} is no JSON path", paths_allowed)
            return
        for name, several in (("at", paths), ("when", tuple(field.when))):
            self.json_paths((*key, name), several)
        for name in ("unit_at", "scale_at"):
            if getattr(field, name) is not None:
                self.json_paths((*key, name), (getattr(field, name),))
        if bool(field.scales) != (field.scale_at is not None) or 0 in field.scales.values():
            self.wrong((*key, "scales"), "no usable factors", "scale_at: a path, scales: {word: factor}, none of them 0")
        if field.units and field.unit_at is None:
            self.wrong((*key, "units"), "where does the answer name its unit?", "unit_at: a JSON path")
        for word, unit in field.units.items():
            try:
                linear(unit, field.unit)
            except Drop as drop:
                self.wrong((*key, "units"), f"{word}: {drop.why}", drop.hint)

    def json_paths(self, key: tuple[str, ...], paths: tuple[object, ...]) -> None:
        for path in paths:
            found = parsed(path)
            if found is None or (found.many and key[-1] != "rows"):
                self.wrong(key, f"{path!r} is no JSON path", paths_allowed)

    def json_wire(self, keys: tuple[str, ...], wire: JsonWire) -> None:
        more = wire.more or More()
        self.json_paths((*keys, "rows"), wire.rows)
        for name, path in (("columns", wire.columns), ("newest", wire.newest)):
            self.json_paths((*keys, name), (path,) if path else ())
        self.json_paths((*keys, "more"), tuple(path for path in (more.next, more.page, more.pages) if path))
        if wire.more is not None and not more.next and not (more.page and more.pages):
            self.wrong((*keys, "more"), "says nothing", "next, or page and pages: JSON paths")
        for path in wire.fixed:
            self.json_paths((*keys, "fixed"), (path,))

    def register(self, key: tuple[str, ...], field: Field, kind: Type) -> None:
        if not isinstance(field.at, int) or field.at < 0:
            self.wrong((*key, "at"), f"{field.at!r} is no register", "a whole number from 0")
        elif field.at > 65534:
            self.wrong((*key, "at"), f"register {field.at} does not exist", "0 to 65534")
        if SIZES.get(kind, 2) % 2 or kind in ("number", "hex"):
            why = f"{kind} does not stand in grammar registers"
            self.wrong((*key, "type"), why, "one of u16, s16, u32, s32, u64, s64, f32, f64")

    def byte(self, key: tuple[str, ...], field: Field, kind: Type) -> None:
        if not isinstance(field.at, int) or field.at < 0:
            self.wrong((*key, "at"), f"{field.at!r} is no byte", "a whole number from 0")
        if kind in ("number", "hex", "time"):
            self.wrong((*key, "type"), f"{kind} does not stand in grammar frame", f"one of {', '.join(SIZES)}, text")
        if field.words is not None:
            self.wrong((*key, "words"), "a frame has no registers", "order: big or little")

    def frame(self, kind: "_Part", wire: FrameWire) -> None:
        keys, length = (*kind.keys, "wire"), wire.length or MAX_FRAME
        why, bytes_ = "lies behind the frame", f"the frame has {length} bytes"
        if (wire.length is None) == (wire.length_from is None):
            self.wrong((*keys, "length"), "how long is it?", "length: 32, or length_from: {at: 2, type: u16, plus: 4}")
        self.start(keys, wire, length)
        if wire.check is not None:
            size = 2 if wire.check.sum in ("sum16", "crc16_modbus", "crc16_8408", "crc16_1021") else 1
            end = wire.check.at if wire.check.end is None else wire.check.end
            if (
                wire.check.at + size > (length if wire.check.at >= 0 else 0)
                or not wire.check.start < end % (length + 1) <= length
            ):
                self.wrong((*keys, "check"), why, bytes_)
        for at, fixed in wire.fixed.items():
            if not at.isdecimal() or int(at) + len(fixed) > length:
                self.wrong((*keys, "fixed", at), why, f"a byte offset below {length}")
        for tells, states in kind.states.items():
            for state in states:
                if isinstance(state.at, int) and state.at + max(len(state.bytes), 1) > length:
                    self.wrong((*kind.keys, "states", tells), why, bytes_)
        for name, field in kind.fields.items():
            size = field.size or SIZES.get(field.type or wire.type, 1)
            if isinstance(field.at, int) and field.at + size > length:
                self.wrong((*kind.keys, "fields", name, "at"), f"byte {field.at} + {size} {why}", bytes_)

    def start(self, keys: tuple[str, ...], wire: FrameWire, length: int) -> None:
        if len(wire.start) > length or (wire.start and not wire.start.known[0]):
            said = f"{len(wire.start)} bytes" if len(wire.start) > length else "the first byte may be anything"
            self.wrong((*keys, "start"), said, f"not more than length, {length}, the first of them known")
        if not wire.start and wire.check is None:
            self.wrong((*keys, "start"), "nothing tells this frame from others", "start: its first bytes, or a check")
        if wire.length_at is not None and not 0 < wire.length_at < len(wire.start):
            self.wrong((*keys, "length_at"), f"byte {wire.length_at}", "a byte within `start`, not its first")
        if wire.stuffing == "shdlc" and wire.start[:1] != b"\x7e":
            self.wrong((*keys, "start"), "a frame of shdlc begins with 7e", "start: 7e 00 03 00")

    def doubts(self) -> None:
        known = [name for kind in self.kinds for name in self.written(kind)]
        for name, doubt in self.parts.get("doubts", {}).items():
            for parameter in (*doubt.positive, *doubt.zero, *doubt.absent, *(doubt.apart or ())):
                if parameter not in known:
                    self.wrong(("doubts", name), f"{parameter!r} is no number of this profile", f"one of {', '.join(known)}")
            if not (doubt.positive and doubt.zero) and not doubt.absent and doubt.apart is None:
                self.wrong(("doubts", name), "no rule", "positive and zero, or absent: lists of parameters; or apart: two")

    def written(self, kind: "_Part") -> list[str]:
        """The names under `fields`, the wrong ones too: a mistake in a field is not one in its doubt."""
        node: Node | None = self.top
        for key in (*kind.keys, "fields"):
            node = node.value.get(key) if node is not None and isinstance(node.value, dict) else None
        names = node.value if node is not None and isinstance(node.value, dict) else {}
        return [name for name in names if name not in (*TEXTS, *TIMES)]


class _Part(Struct):
    """One kind of answer as far as it is right; `keys` lead to it in the file."""

    keys: tuple[str, ...]
    wire: Wire | None
    fields: dict[str, Field]
    states: dict[StateName, tuple[State, ...]]
    status: dict[str, Status]


def _likely_parameter(name: str) -> str:
    near = get_close_matches(name, PARAMETERS, n=1)
    where = "the list is readings/parameters.yaml; a profile may not invent one"
    return f"did you mean `{near[0]}`? {where}" if near else where


def default_type(wire: Wire) -> Type:
    """The type of a field that names none."""
    return "number" if isinstance(wire, (JsonWire, LinesWire)) else wire.type


def _grammar(wire: Wire) -> str:
    return str(wire.__struct_config__.tag)
