"""A hub as a model: a database that survives kills and may be restored from a backup, and bridges that hold promises only.

What to take and what to answer is said by `hub.front.ledger`, the rules that run in production.
"""

from collections.abc import Sequence
from random import Random

from hub.front import ledger as rules
from readings.batch import ENCODING_COLUMNS, VERSION, Header
from readings.messages import Ack, Answer, Hello
from readings.ranges import Ranges
from tests.proofs.model.card import SCHEMA, Item, Key, hold

DAY_MS = 86_400_000
MAX_AGE_DAYS = 3
"""BACKUP_MAX_AGE of this world."""
LOCK_S = 10.0
"""A frozen bridge loses its locks after so long."""

Message = tuple[str, list[tuple[int, Item]]]
Sets = dict[str, rules.Known]


class Database:
    """All that a backup holds."""

    def __init__(self) -> None:
        self.known: Sets = {}
        self.stored: dict[Key, tuple[Item, ...]] = {}
        self.log: list[list[tuple[str, int, Item]]] = []
        self.position = 0
        self.copies: list[tuple[rules.Copy, Sets]] = []
        self.noted: list[int] = []
        self.seen: dict[str, int] = {}
        self.cards: dict[str, set[str]] = {}
        self.successors: dict[tuple[str, int], dict[str, int]] = {}
        self.alarms: set[str] = set()

    def copy(self) -> "Database":
        made = Database()
        for name, value in vars(self).items():
            setattr(made, name, value if isinstance(value, int) else value.copy())
        made.cards = {card: set(streams) for card, streams in self.cards.items()}
        made.successors = {previous: dict(streams) for previous, streams in self.successors.items()}
        return made


class Taking:
    """A transaction between reading what is held and its commit."""

    def __init__(self, message: Message, header: Header, admission: rules.Admission, begun: float) -> None:
        self.message, self.header, self.admission, self.begun = message, header, admission, begun


class Hub:
    """Bridges over one database. Time [s] and days are the world's; `clock_off` [days] is the error of the hub's own clock."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.db = Database()
        self.backups: list[tuple[float, Database]] = []
        self.up = True
        self.clock_off = 0.0
        self.frozen: list[Taking] = []
        self.restart()

    def restart(self) -> None:
        """kill -9: open transactions are gone, the incarnation changes."""
        self.up = True
        self.frozen.clear()
        self.incarnation = f"{self.random.getrandbits(64):x}"

    # ---- messages

    def take(self, message: Message, now: float, *, die: str | None = None) -> Ack | None:
        """The ack of a message; None: refused, busy, or killed before or after the commit."""
        begun = self.begin(message, now)
        if begun is None:
            return None
        if die == "before":
            self.restart()
            return None
        ack = self.commit(begun)
        if die == "after":
            self.restart()
            return None
        return ack

    def begin(self, message: Message, now: float) -> Taking | None:
        """Reads what is held, under the stream's lock. None: another bridge has it."""
        stream, rows = message
        header = Header(VERSION, ENCODING_COLUMNS, stream, rows[0][0], len(rows), 0)
        if self.locked(stream, now):
            return None
        return Taking(message, header, rules.admit(header, self.db.known.get(stream, rules.Known())), now)

    def locked(self, stream: str, now: float) -> bool:
        self.frozen = [t for t in self.frozen if now - t.begun < LOCK_S]
        return any(t.header.stream == stream for t in self.frozen)

    def freeze(self, message: Message, now: float) -> None:
        """A second bridge stops in the middle of its transaction."""
        if begun := self.begin(message, now):
            self.frozen.append(begun)

    def thaw(self, now: float) -> Ack | None:
        """It goes on: commits if it still has its locks."""
        if not self.frozen:
            return None
        waited = self.frozen.pop(self.random.randrange(len(self.frozen)))
        return self.commit(waited) if now - waited.begun < LOCK_S else None

    def commit(self, taking: Taking) -> Ack:
        """One transaction, then the ack as read from the committed tables."""
        (stream, rows), admission = taking.message, taking.admission
        taken = [(seq, item) for seq, item in rows if seq in admission.take]
        for seq, item in taken:
            self.db.stored[stream, seq] = (*self.db.stored.get((stream, seq), ()), item)
        for seq, item in rows:
            if seq in admission.overlap:
                hold(self.db.stored[stream, seq][0] == item, "I4 the same identity came with other contents")
        if taken:
            self.db.log.append([(stream, seq, item) for seq, item in taken])
        self.db.known[stream] = rules.Known(admission.after.held, self.db.known.get(stream, rules.Known()).gone)
        self._spoke(stream, rows[-1][0])
        return self.ack(taking.header)

    def ack(self, header: Header) -> Ack:
        return rules.ack(self.incarnation, header, self.db.known[header.stream])

    # ---- hellos

    def greet(self, hello: Hello) -> Answer:
        """Registers what the hello names, then answers from the committed tables."""
        if hello.stream is not None:
            self._register(hello, hello.stream)
        safe = {stream: known.held | known.gone for stream, known in self.safe().items()}
        return rules.answer(hello, self.db.known, safe, incarnation=self.incarnation, time_ms=0)

    def _register(self, hello: Hello, stream: str) -> None:
        if hello.card not in self.db.cards and self.db.cards:
            self.db.alarms.add("new card")
        self.db.cards.setdefault(hello.card, set()).add(stream)
        for name, _, hi in hello.streams:
            self.db.seen[name] = max(hi, self.db.seen.get(name, 0))
        if hello.previous:
            self.db.successors.setdefault(hello.previous, {}).setdefault(stream, 0)
        self._spoke(stream, 0)

    def _spoke(self, stream: str, hi: int) -> None:
        """Two successors of one stream that both go on speaking are a cloned card."""
        self.db.seen[stream] = max(hi, self.db.seen.get(stream, 0))
        for streams in self.db.successors.values():
            if stream in streams and len(streams) > 1:
                streams[stream] += 1
                if sum(words > 1 for words in streams.values()) > 1:
                    self.db.alarms.add("cloned card")

    # ---- days

    def settle(self) -> None:
        """The follower that reads tombstones: their numbers go to `gone`."""
        for batch in self.db.log[self.db.position :]:
            for _, _, item in batch:
                if (loss := item.loss) is not None:
                    known = self.db.known.get(loss.stream, rules.Known())
                    self.db.known[loss.stream] = rules.buried(known, loss.ranges.pairs)
        self.db.position = len(self.db.log)

    def day(self, day: float) -> None:
        """A copy of what is held for each day of running, none while the clock is stepped."""
        copies = [copy for copy, _ in self.db.copies]
        if self.up and self.clock_off == 0 and rules.copy_due(copies, self.now_ms()):
            self.db.copies.append((rules.Copy(len(copies) + 1, self.now_ms()), dict(self.db.known)))
        self.backups = [b for b in self.backups if day - b[0] < MAX_AGE_DAYS]

    def safe(self) -> Sets:
        """What every backup has that may still be restored."""
        copies = [copy for copy, _ in self.db.copies]
        found = rules.safe_copy(copies, self.now_ms(), max_age_ms=MAX_AGE_DAYS * DAY_MS, backups=self.db.noted)
        return next((sets for copy, sets in self.db.copies if copy is found), {})

    def now_ms(self) -> int:
        """By the hub's own clock."""
        return int((self.days + self.clock_off) * DAY_MS)

    days = 0.0

    def backup(self) -> None:
        self.db.noted.append(self.now_ms())
        self.backups.append((self.days, self.db.copy()))

    def restore(self) -> None:
        """One of the backups that are not too old takes the place of the database."""
        if self.backups:
            self.db = self.random.choice(self.backups)[1].copy()
            self.restart()

    # ---- what must hold

    def check_ack(self, ack: Ack) -> None:
        gone = Ranges(ack.gone)
        for lo, hi in [*ack.held, ack.got]:
            missing = [s for s in range(lo, hi + 1) if (ack.stream, s) not in self.db.stored and s not in gone]
            hold(not missing, "I3 an ack names a row that is not committed")

    def readable(self, key: Key) -> bool:
        """The row is stored, and the schema row that it is read by."""
        return key in self.db.stored and (key[0], SCHEMA) in self.db.stored

    def account(self, excused: Sequence[Key]) -> None:
        """I6 after healing: each number that was seen is stored, tombstoned, or lost with its card."""
        lost = set(excused)
        for stream, hi in self.db.seen.items():
            known = self.db.known.get(stream, rules.Known())
            for lo, top in Ranges.span(1, hi) - known.held - known.gone:
                hold(all((stream, seq) in lost for seq in range(lo, top + 1)), "I6 a number seen is in no account")
