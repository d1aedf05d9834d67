"""A card and the daemon that writes to it, as a model: rows survive power cuts, the ring and the ledger in memory do not.

The rules are those that run in production: `edge.ledger` for the link, `edge.eviction` and `edge.book` for the card.
"""

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from edge import eviction
from edge.book import Book
from edge.eviction import Loss, May, Plan, Seen, Shelf
from edge.ledger import Ledger, SendRows
from readings.ranges import Ranges
from readings.row import Row

QUOTA_ROWS = 60
STEP_ROWS = 8
"""Rows that one tombstone gives up at least."""
SCHEMA = 2
"""The number of each stream's schema row: the start row is 1."""

Key = tuple[str, int]


class Item(NamedTuple):
    """A row: `content` is unique in the world; `loss` is what a tombstone declares."""

    kind: str
    content: int
    loss: Loss | None = None

    def row(self) -> Row:
        """As far as the rules of eviction look at it."""
        kind, values = ("event", {"event": "start"}) if self.kind == "start" else (self.kind, {})
        if self.loss is not None:
            values = self.loss.content()  # type: ignore[assignment]  # any object will do
        return Row(kind, "pm", None, "boot", None, 0, "synced", values, None)  # type: ignore[arg-type]  # a kind of ours


class Violation(AssertionError):
    """An invariant of the ledger does not hold."""


def hold(fact: bool, invariant: str) -> None:
    if not fact:
        raise Violation(invariant)


class Card:
    """Rows by stream and number, and the book of them. A card that lies keeps older states, to which a power cut may go back."""

    def __init__(self, name: str, random: Random, *, lies: bool = False) -> None:
        self.name, self.random, self.lies = name, random, lies
        self.rows: dict[str, dict[int, Item]] = {}
        self.book = Book()
        self.bad: set[Key] = set()
        self._older: list[tuple[dict[str, dict[int, Item]], Book]] = []

    def write(self, stream: str, first: int, items: Sequence[Item], plan: Plan, book: Book) -> None:
        """One transaction. A card that lies says it is flushed in any case."""
        if self.lies:
            if self.random.random() < 0.5:
                self._older.clear()
            self._older.append(({name: dict(rows) for name, rows in self.rows.items()}, self.book))
        for name, gone in plan.delete.items():
            for seq in gone.numbers():
                del self.rows[name][seq]
        self.rows.setdefault(stream, {}).update(enumerate(items, first))
        self.book = book

    def power_cut(self) -> set[Key]:
        """The rows that the card had promised and has no more."""
        if not self._older or (back := self.random.randrange(len(self._older) + 1)) == len(self._older):
            return set()
        before = self.numbered()
        self.rows, self.book = self._older[back]
        self._older.clear()
        return before - self.numbered()

    def damage(self) -> None:
        """A bit flips in a sample or a tombstone; nobody knows until it is read."""
        rows = [(name, seq) for name, seq in sorted(self.numbered()) if self.rows[name][seq].kind in ("sample", "tombstone")]
        if rows:
            self.bad.add(self.random.choice(rows))

    def numbered(self) -> set[Key]:
        return {(name, seq) for name, rows in self.rows.items() for seq in rows}

    def clone(self) -> "Card":
        made = Card(self.name, self.random)
        made.rows = {name: dict(rows) for name, rows in self.rows.items()}
        made.book, made.bad = self.book, set(self.bad)
        return made


class Device:
    """One daemon over a card. `oracle` holds every row ever committed, whatever became of it."""

    ledger_class: type[Ledger] = Ledger

    def __init__(self, card: Card, random: Random, oracle: dict[Key, Item]) -> None:
        self.card, self.random, self.oracle = card, random, oracle
        self.disk_full = False
        self.quota_rows = QUOTA_ROWS
        self.serial = 0
        self.now = 0.0
        self.boot()

    def boot(self) -> None:
        """A new life: a new stream, whose start row and schema wait for their commit."""
        book = self.card.book
        self.ledger = self.ledger_class(card=self.card.name, version="1", nonce=self._nonce, retry_max_s=10)
        streams = [(name, numbers.low or 1, book.ends[name]) for name, numbers in book.present.items() if numbers]
        self.ledger.opened(streams, book.produced(), {name: absent.away for name, absent in book.absent.items()})
        last = next(reversed(list(book.present)), None)
        self.previous = (last, book.ends[last]) if last else None
        self.stream, self.end = self.mint()
        self.started = self.answered = False
        self.booted = self.now
        self.damaged: dict[str, Ranges] = {}
        self.ring = [self._item("start"), self._item("schema")]

    def mint(self) -> tuple[str, int]:
        """The stream of this life and the last number that it has."""
        return f"{self.random.getrandbits(63):016x}", 0

    def produce(self, rows: int) -> None:
        """Samples wait in a ring that drops its oldest, never the start and schema rows."""
        waiting = [*self.ring, *(self._item("sample") for _ in range(rows))]
        first, samples = [i for i in waiting if i.kind != "sample"], [i for i in waiting if i.kind == "sample"]
        self.ring = first + samples[-self.quota_rows // 3 :]

    def commit(self) -> None:
        """The ring becomes rows, if there is room or room may be made; damaged rows get their tombstone."""
        if not self.ring and not self.damaged:
            return
        plan = None if self.disk_full else self._plan()
        if plan is None:
            self.ledger.commits_refused = True
            return
        self.ring += [self._item("tombstone", loss) for loss in plan.losses]
        self._write(plan)
        if not self.started:
            self.started = True
            self.ledger.started(self.stream, self.previous)
        self.ledger.commits_refused = False
        self.ledger.committed(self.end - len(self.ring) + 1, self.end)
        self.ring, self.damaged = [], {}

    def read(self, want: SendRows, most: int) -> list[tuple[int, Item]]:
        """Neighbours from want.lo on, at most so many; what is missing or damaged is told to the ledger."""
        hi = min(want.hi, want.lo + most - 1)
        rows, bad = self.card.rows.get(want.stream, {}), self.card.bad
        found = [(seq, rows[seq]) for seq in range(want.lo, hi + 1) if seq in rows and (want.stream, seq) not in bad]
        if len(found) < hi - want.lo + 1:
            damaged = Ranges.of(seq for seq in range(want.lo, hi + 1) if seq in rows and (want.stream, seq) in bad)
            if damaged:
                self.damaged[want.stream] = self.damaged.get(want.stream, Ranges()) | damaged
            self.ledger.evicted(want.stream, Ranges.span(want.lo, hi) - Ranges.of(seq for seq, _ in found))
            found = [row for i, row in enumerate(found) if row[0] == found[0][0] + i]
        return found

    def forget(self, stream: str, numbers: Ranges) -> None:
        """Deletes rows without further ado: what broken designs do."""
        gone = Plan({stream: numbers & self.card.book.present.get(stream, Ranges())})
        if gone.delete[stream]:
            self.card.write(
                self.stream, self.end + 1, [], gone, self.card.book.after(gone, stream=self.stream, hi=self.end, anchors={})
            )
            self.ledger.evicted(stream, gone.delete[stream])

    def _write(self, plan: Plan) -> None:
        first = self.end + 1
        self.end += len(self.ring)
        book = self.card.book.after(plan, stream=self.stream, hi=self.end, anchors={})
        self.card.write(self.stream, first, self.ring, plan, book)
        self.oracle.update({(self.stream, seq): item for seq, item in enumerate(self.ring, first)})
        for name, gone in plan.delete.items():
            self.ledger.evicted(name, gone)

    def _plan(self) -> Plan | None:
        """What leaves with this commit; None: it is refused."""
        book = self.card.book
        shelf = Shelf(book.present, self.stream, lost=book.lost())
        buried = eviction.buried(shelf, self.damaged)
        may = May(
            self.ledger.all_safe(), eviction.may_drop("drop_oldest", answered=self.answered, lived_s=self.now - self.booted)
        )
        need = sum(map(len, book.present.values())) + len(self.ring) + len(buried.losses) - self.quota_rows
        rows, scarce = max(STEP_ROWS, need), False
        while need > 0:
            plan = eviction.together(buried, eviction.plan(shelf, may, rows, self._seen, scarce=scarce))
            if sum(map(len, plan.delete.values())) >= need + len(plan.losses) - len(buried.losses):
                return plan
            if rows > 2 * self.quota_rows:
                return None
            rows, scarce = 2 * rows, True
        return buried

    def _seen(self, stream: str, numbers: Ranges) -> list[Seen]:
        rows = self.card.rows[stream]
        return [(seq, None if (stream, seq) in self.card.bad else rows[seq].row()) for seq in numbers.numbers() if seq in rows]

    def _item(self, kind: str, loss: Loss | None = None) -> Item:
        self.serial += 1
        return Item(kind, self.random.getrandbits(48) << 16 | self.serial, loss)

    def _nonce(self) -> str:
        return f"{self.random.getrandbits(64):x}"
