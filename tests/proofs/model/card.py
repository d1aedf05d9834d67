"""A card and the daemon that writes to it, as a model: rows survive power cuts, the ring and the ledger in memory do not.

The ledger is `edge.ledger`, the one that runs in production.
"""

from collections.abc import Iterable
from random import Random
from typing import NamedTuple

from edge.ledger import Ledger, SendRows
from readings.ranges import Ranges

QUOTA_ROWS = 60
STEP_ROWS = 8
"""Rows that one tombstone gives up at least."""
LONELY_S = 600.0
"""Without an answer in this life rows are given up only after so long."""
SCHEMA = 2
"""The number of each stream's schema row: the start row is 1."""

Lost = tuple[tuple[str, Ranges], ...]
Key = tuple[str, int]


class Item(NamedTuple):
    """A row: `content` is unique in the world; `lost` is what a tombstone declares."""

    kind: str
    content: int
    lost: Lost = ()


class Violation(AssertionError):
    """An invariant of the ledger does not hold."""


def hold(fact: bool, invariant: str) -> None:
    if not fact:
        raise Violation(invariant)


class Card:
    """Rows by stream and number. A card that lies keeps older states, to which a power cut may throw it back."""

    def __init__(self, name: str, random: Random, *, lies: bool = False) -> None:
        self.name, self.random, self.lies = name, random, lies
        self.rows: dict[str, dict[int, Item]] = {}
        self._older: list[dict[str, dict[int, Item]]] = []

    def write(self, stream: str, first: int, items: Iterable[Item], evicted: Iterable[Key] = ()) -> None:
        """One transaction. A card that lies says it is flushed in any case."""
        if self.lies:
            if self.random.random() < 0.5:
                self._older.clear()
            self._older.append({name: dict(rows) for name, rows in self.rows.items()})
        for name, seq in evicted:
            del self.rows[name][seq]
        self.rows.setdefault(stream, {}).update(enumerate(items, first))

    def power_cut(self) -> set[Key]:
        """The rows that the card had promised and has no more."""
        if not self._older or (back := self.random.randrange(len(self._older) + 1)) == len(self._older):
            return set()
        before = self.numbered()
        self.rows = self._older[back]
        self._older.clear()
        return before - self.numbered()

    def numbered(self) -> set[Key]:
        return {(name, seq) for name, rows in self.rows.items() for seq in rows}

    def clone(self) -> "Card":
        made = Card(self.name, self.random)
        made.rows = {name: dict(rows) for name, rows in self.rows.items()}
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
        earlier = [(name, min(rows), max(rows)) for name, rows in self.card.rows.items() if rows]
        self.ledger = self.ledger_class(card=self.card.name, version="1", nonce=self._nonce, retry_max_s=10)
        self.ledger.opened(earlier, sum(hi for _, _, hi in earlier))
        self.previous = (earlier[-1][0], earlier[-1][2]) if earlier else None
        self.stream, self.end = self.mint()
        self.started = self.answered = False
        self.booted = self.now
        self.ring = [self._item("start"), self._item("schema")]

    def mint(self) -> tuple[str, int]:
        """The stream of this life and the last number that it has."""
        return f"{self.random.getrandbits(63):016x}", 0

    def produce(self, rows: int) -> None:
        self.ring += [self._item("sample") for _ in range(rows)]

    def commit(self) -> None:
        """The ring becomes rows, if there is room or room may be made."""
        if not self.ring:
            return
        room = None if self.disk_full else self._room()
        if room is None:
            self.ledger.commits_refused = True
            return
        evicted, lost = room
        if lost:
            self.ring.append(self._item("tombstone", tuple(lost.items())))
        self._write(evicted)
        if not self.started:
            self.started = True
            self.ledger.started(self.stream, self.previous)
        self.ledger.commits_refused = False
        self.ledger.committed(self.end - len(self.ring) + 1, self.end)
        self.ring = []

    def may_leave(self, stream: str) -> Ranges:
        """Rows that need no tombstone: every backup of the hub has them."""
        return self.ledger.safe(stream)

    def read(self, want: SendRows, most: int) -> list[tuple[int, Item]]:
        """Neighbours from want.lo on, at most so many; what is missing is told to the ledger."""
        hi = min(want.hi, want.lo + most - 1)
        rows = self.card.rows.get(want.stream, {})
        found = [(seq, rows[seq]) for seq in range(want.lo, hi + 1) if seq in rows]
        if len(found) < hi - want.lo + 1:
            self.ledger.evicted(want.stream, Ranges.span(want.lo, hi) - Ranges.of(seq for seq, _ in found))
            found = [row for i, row in enumerate(found) if row[0] == found[0][0] + i]
        return found

    def forget(self, stream: str, numbers: Ranges) -> None:
        """Deletes rows without further ado: what broken designs do."""
        for seq in numbers.numbers():
            self.card.rows.get(stream, {}).pop(seq, None)
        self.ledger.evicted(stream, numbers)

    def _write(self, evicted: list[Key]) -> None:
        first = self.end + 1
        self.card.write(self.stream, first, self.ring, evicted)
        self.end += len(self.ring)
        self.oracle.update({(self.stream, seq): item for seq, item in enumerate(self.ring, first)})
        for name in dict.fromkeys(name for name, _ in evicted):
            self.ledger.evicted(name, Ranges.of(seq for n, seq in evicted if n == name))

    def _room(self) -> tuple[list[Key], dict[str, Ranges]] | None:
        """Rows to evict and, of them, those to declare lost; None: the commit is refused."""
        need = sum(map(len, self.card.rows.values())) + len(self.ring) + 1 - self.quota_rows
        if need <= 0:
            return [], {}
        evicted = [key for key in self._oldest() if key[1] in self.may_leave(key[0])][:need]
        if len(evicted) >= need:
            return evicted, {}
        if not self.answered and self.now - self.booted < LONELY_S:
            return None
        given_up = [key for key in self._oldest() if key not in set(evicted)][: max(STEP_ROWS, need - len(evicted))]
        lost: dict[str, Ranges] = {}
        for name, seq in given_up:
            lost[name] = lost.get(name, Ranges()) | Ranges.span(seq, seq)
            for other, numbers in self.card.rows[name][seq].lost:
                lost[other] = lost.get(other, Ranges()) | numbers
        return evicted + given_up, lost

    def _oldest(self) -> Iterable[Key]:
        """A schema row stays as long as a row of its stream does, those to come included."""
        for name, rows in self.card.rows.items():
            lone = name != self.stream and len(rows) == 1
            yield from ((name, seq) for seq in sorted(rows) if seq != SCHEMA or lone)

    def _item(self, kind: str, lost: Lost = ()) -> Item:
        self.serial += 1
        return Item(kind, self.random.getrandbits(48) << 16 | self.serial, lost)

    def _nonce(self) -> str:
        return f"{self.random.getrandbits(64):x}"
