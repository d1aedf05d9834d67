"""Grammar `lines`: a stream of characters in, readings and faults out. No I/O here.

However the bytes arrive, the same lines come out: a line is looked at when its end has come, and never kept beyond `longest`.
"""

import re
from collections.abc import Callable, Sequence

from msgspec import Struct

from adapters.decode.columns import (
    Cell,
    Row,
    Titles,
    number_finder,
    place_of,
    printable,
    rows,
    split,
    tester,
    text_finder,
    titles_of,
)
from adapters.decode.reading import Fault, Judge, Number, Plan, Reading, Result, Scale, least_flags, plan_of
from adapters.decode.tails import SEALS, SIZES, same
from adapters.linerules import latin
from adapters.profile import LinesWire, Message, Profile

MAX_STARTS = 16
"""Of the characters that begin a line, so many in one line are tried, the last ones."""
_ROUND = b"\r\n\0"
"""Not part of a line: the other half of its end, and what a line sends while it is switched on."""


class Found(Struct):
    """What lines gave so far. `known`: something stood there that is known for what it is; `least`: flags of each status."""

    numbers: list[Number]
    texts: dict[str, str]
    notes: list[str]
    least: list[tuple[int, ...]]
    known: bool = False

    def join(self, other: "Found", into: Sequence[Callable[[Number], Number]]) -> None:
        """`into`: another kind's numbers as the first kind would have printed them."""
        theirs = [turn(number) for turn, number in zip(into, other.numbers, strict=True)]
        self.numbers = [old if old is not None else new for old, new in zip(self.numbers, theirs, strict=True)]
        self.texts |= other.texts
        self.notes += other.notes
        self.least += other.least


class Kind:
    """One kind of line: whether a line is of it, and what it says."""

    def __init__(self, profile: Profile, message: Message | None = None) -> None:
        part = message or profile
        wire, fields = part.wire, part.fields
        assert isinstance(wire, LinesWire)  # noqa: S101  # the caller chose by grammar
        self.wire, self.plan = wire, plan_of(profile, message)
        self.judge = Judge(profile, self.plan, message)
        self.start, self._end = _bytes(wire.start), _bytes(wire.end)
        self.whole = bool(wire.start or wire.begins or wire.check)
        """A line of this kind shows by itself that nothing of its beginning is missing."""
        self.titles: Titles | None = None
        self._begins = re.compile(b"|".join(pattern(text) for text in wire.begins), re.DOTALL)
        self._sealed = re.compile(b"|".join(pattern(text) for text in (wire.check.only if wire.check else ())), re.DOTALL)
        self._row = rows(wire)
        numbers = [name for name, field in fields.items() if field.type not in ("text", "time")]
        self._numbers = [(self.plan.names.index(name), number_finder(name, fields[name], wire)) for name in numbers]
        self._texts = [(name, text_finder(name, field, wire)) for name, field in fields.items() if name not in numbers]
        self._places = [place_of(fields[name].at, wire) for name in numbers]
        self._states = [(name, one, tester(one, wire)) for name, several in part.states.items() for one in several]
        self._status = [(name, tester(one, wire), least_flags(one, self.plan)) for name, one in part.status.items()]

    def take(self, body: bytes, tail: bytes, *, whatever: bool = False) -> bytes | Fault | None:
        """What stands between start and checksum; the fault that it is; None for a line of another kind."""
        fault: Fault | None = None
        for at in self._starts(body):
            inner = body[at + len(self.start) :]
            if not whatever and not self._begins.match(inner):
                continue
            content = self._unsealed(inner, tail)
            if isinstance(content, bytes):
                return content
            fault = fault or content
        return fault

    def begun(self, body: bytes) -> bool:
        """Whether a line of this kind begins there."""
        if not self.start:
            return False
        return any(self._begins.match(rest) for rest in body.split(self.start)[1 : MAX_STARTS + 1])

    def _starts(self, body: bytes) -> Sequence[int]:
        if not self.start:
            return (0,)
        if self.wire.check is None:  # an earlier one began a line that was cut
            last = body.rfind(self.start)
            return (last,) if last >= 0 else ()
        found, at = [], body.find(self.start)
        while at >= 0:
            found.append(at)
            at = body.find(self.start, at + 1)
        return found[-MAX_STARTS:]

    def _unsealed(self, inner: bytes, tail: bytes) -> bytes | Fault:
        check = self.wire.check
        if check is None or not self._sealed.match(inner):
            return inner
        size, mark = SIZES[check.sum], _bytes(check.mark)
        if check.after_end:
            content, said = inner, tail
        elif mark:
            content, found, said = inner.rpartition(mark)
            if not found:
                return Fault("bad_tail", "no checksum stands in this line")
        else:
            content, said = inner[:-size], inner[-size:]
        if len(said.strip()) != size:
            return Fault("bad_tail", f"{printable(said.decode('latin-1'))!r} is no checksum")
        covered = self.start + content + (self._end if check.after_end else mark) if check.sum == "bcc_xor" else content
        return content if same(check.sum, said.strip(), SEALS[check.sum](covered)) else Fault("bad_checksum")

    def read(self, content: bytes) -> tuple[Row, Found | Fault] | Fault | None:
        """None for a header, which is kept."""
        cells = split(_text(content), self.wire.split)
        if self.wire.columns == "header":
            if self.is_header(cells):
                return self._heard(cells)
            if self.titles is None:
                return Fault("bad_header", "no header came before this line")
        count = (len(self.titles.units),) if self.titles is not None else self.wire.count
        if count:
            while len(cells) > max(count) and not cells[-1]:
                cells.pop()
            if len(cells) not in count:
                return Fault("bad_length", f"{len(cells)} columns")
        row = self._row(cells, self.titles)
        return row, self._state(row) or self._found(row)

    def is_header(self, cells: Sequence[str]) -> bool:
        if self.wire.columns != "header":
            return False
        return next(iter(titles_of(cells[:1]).places), "") == self.wire.header.lower()

    def _heard(self, cells: Sequence[str]) -> Fault | None:
        while cells and not cells[-1]:
            cells = cells[:-1]
        self.titles = titles_of(cells)
        named = Row(cells, {title: Cell(title) for title in self.titles.places})
        if all(named.at(place) is None for place in self._places):
            return Fault("schema_mismatch", "none of this profile's titles is in the header")
        return None

    def _state(self, row: Row) -> Fault | None:
        for name, state, stands in self._states:
            if stands(row):
                said = row.text(state.says if state.says is not None else state.at)
                return Fault(f"{state.code}:{printable(said)}" if name == "error" else name)
        return None

    def _found(self, row: Row) -> Found | Fault:
        found = Found([None] * len(self.plan.names), {}, [], [])
        bad = False
        for at, number_in in self._numbers:
            number, note, there = number_in(row)
            found.numbers[at] = number
            found.known |= there
            if note:
                found.notes.append(note)
                bad |= not there
        for name, text_in in self._texts:
            text, note = text_in(row)
            if text:
                found.texts[name] = text
            if note:
                found.notes.append(note)
                bad = True
        if not found.known and (bad or not found.texts):
            return Fault("bad_field", ", ".join(found.notes)[:80]) if bad else Fault("no_data", "every column is empty")
        for name, stands, least in self._status:
            if stands(row):
                found.notes.append(name)
                found.least.append(least)
        return found


class Group:
    """Lines that make one reading: one of each kind, with the same text in their `join` column."""

    def __init__(self, key: str, found: Found) -> None:
        self.key, self.found = key, found
        self.kinds: set[int] = set()
        self.barred = False


class LinesDecoder:
    """Keeps the open end of the stream between two calls, never more than one line. `midway`: it is joined while it runs."""

    def __init__(self, profile: Profile, *, midway: bool = False) -> None:
        wire = profile.wire
        assert isinstance(wire, LinesWire)  # noqa: S101  # the caller chose by grammar
        self.plan: Plan = plan_of(profile)
        self.skipped = 0
        self.midway = midway
        self._kinds = [Kind(profile, one) for one in profile.messages.values() if isinstance(one.wire, LinesWire)]
        self._kinds.append(Kind(profile))
        self._into = [_turns(kind.plan, self.plan) for kind in self._kinds]
        self._end, self._longest = _bytes(wire.end), wire.longest
        self._behind = SIZES[wire.check.sum] if wire.check is not None and wire.check.after_end else 0
        self._ignore = re.compile(b"|".join(pattern(text) for text in wire.ignore), re.DOTALL) if wire.ignore else None
        self._usual = {at for at, kind in enumerate(self._kinds) if kind.wire.join is not None}
        self.reset()

    def reset(self) -> None:
        self._open = b""
        self._lost = 0
        self._cut = self.midway
        self._group: Group | None = None
        for kind in self._kinds:
            kind.titles = None

    def feed(self, data: bytes) -> list[Result]:
        stream = self._open + data if self._open else data
        results: list[Result] = []
        at, end = 0, len(self._end)
        while (found := stream.find(self._end, at)) >= 0:
            behind = found + end
            if len(stream) < behind + self._behind:
                break
            sealed = self._line(stream[at:found], stream[behind : behind + self._behind], results)
            at = behind + (self._behind if sealed else 0)
        self._open = stream[at:]
        if found < 0 and (over := len(self._open) - self._longest - end) > 0:
            self._open = self._open[over:]
            self._lost += over
            self.skipped += over
        return results

    def _line(self, piece: bytes, tail: bytes, results: list[Result]) -> bool:
        """One line's results; whether what stands behind its end is its checksum."""
        over, self._lost = self._lost + len(piece) - self._longest, 0
        cut, self._cut = self._cut, False
        if over > 0:
            whole, piece = len(piece), piece[-self._longest :]
            self.skipped += whole - len(piece)
            if not self._kinds[-1].start:
                results.append(Fault("bad_length", f"a line of more than {self._longest} characters"))
                self.skipped += len(piece)
                return False
        body = piece.strip(_ROUND)
        if not body or (self._ignore is not None and self._ignore.match(body)):
            return False
        fault: Fault | None = None
        for at, kind in enumerate(self._kinds):
            content = kind.take(body, tail)
            if not isinstance(content, bytes):
                fault = fault or content
                continue
            before = body[: body.rfind(kind.start + content)] if kind.start else b""
            self.skipped += len(before)
            if before and any(one.begun(before) for one in self._kinds):
                results.append(Fault("truncated"))
            if cut and not kind.whole and not kind.is_header(split(_text(content), kind.wire.split)):
                self.skipped += len(body)
                return False
            self._say(at, kind, content, results)
            return True
        if fault is not None:
            results.append(fault)
            self.skipped += len(body)
            return False
        return self._unknown(body, tail, results)

    def _unknown(self, body: bytes, tail: bytes, results: list[Result]) -> bool:
        """A line that no kind takes."""
        content = self._kinds[-1].take(body, tail, whatever=True)
        if content is None:
            self.skipped += len(body)
            return False
        shown = printable(_text(content)[:24]) if isinstance(content, bytes) else ""
        results.append(content if isinstance(content, Fault) else Fault("unsupported_sentence", shown))
        return isinstance(content, bytes)

    def _say(self, at: int, kind: Kind, content: bytes, results: list[Result]) -> None:
        said = kind.read(content)
        if said is None:
            return
        if isinstance(said, Fault):
            results.append(said)
            return
        row, found = said
        if kind.wire.join is None:
            results.append(found if isinstance(found, Fault) else _judged(kind.judge, found))
            return
        key = row.text(kind.wire.join)
        group = self._group
        if group is not None and (at in group.kinds or (key and group.key and key != group.key)):
            results.extend(self._closed())
            group = None
        if group is None:
            group = self._group = Group(key, Found([None] * len(self.plan.names), {}, [], []))
        group.kinds.add(at)
        if isinstance(found, Fault):
            results.append(found)
            group.barred = True
        else:
            group.found.join(found, self._into[at])
        if group.kinds == self._usual:
            results.extend(self._closed())

    def _closed(self) -> list[Result]:
        """The reading of the lines that belong together. One of them that says there is none speaks for all."""
        group, self._group = self._group, None
        if group is None:
            return []
        self._usual = group.kinds
        return [] if group.barred else [_judged(self._kinds[-1].judge, group.found)]

    def finish(self) -> list[Result]:
        """A last line without an end counts where its checksum shows that it is whole."""
        results: list[Result] = []
        rest, sealed = self._open.strip(_ROUND), False
        if rest and not self._behind and not self._lost:
            for at, kind in enumerate(self._kinds):
                content = kind.take(rest, b"") if kind.wire.check is not None else None
                if isinstance(content, bytes):
                    self._say(at, kind, content, results)
                    sealed = True
                    break
        results.extend(self._closed())
        if rest and not sealed:
            start = self._kinds[-1].start
            if start and start not in rest:
                self.skipped += len(rest)
            else:
                results.append(Fault("truncated"))
        self.reset()
        return results


def _bytes(text: str) -> bytes:
    return latin(text) or b""


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1")


def pattern(text: str) -> bytes:
    """A beginning, in which `?` stands for any one character."""
    return b".".join(re.escape(part) for part in _bytes(text).split(b"?"))


def _judged(judge: Judge, found: Found) -> Reading:
    return judge.judge(found.numbers, found.texts, {}, found.notes, found.least)


def _turns(one: Plan, other: Plan) -> list[Callable[[Number], Number]]:
    """For each channel: a raw number of one plan as a raw number of the other."""
    return [_turn(mine, theirs) for mine, theirs in zip(one.scales, other.scales, strict=True)]


def _turn(one: Scale, other: Scale) -> Callable[[Number], Number]:
    if (one.factor, one.offset) == (other.factor, other.offset):
        return lambda raw: raw
    return lambda raw: None if raw is None else (raw * one.factor + one.offset - other.offset) / other.factor
