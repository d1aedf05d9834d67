"""A gateway, a hub and a bad link in one process: both real state machines, random faults, and an oracle outside them.

The disk, the database and the link are models; `edge.ledger` and `hub.front.ledger` are the code that runs in production.
"""

from collections.abc import Callable
from copy import deepcopy
from random import Random

from edge.ledger import Ledger, SayHello, SendRows
from hub.front import ledger as rules
from readings.batch import ENCODING_COLUMNS, VERSION, Header
from readings.messages import Ack, Answer, Hello

Content = tuple[str, int, int]


class Gateway:
    """A card (survives power cuts) and the ledger in memory (does not)."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.card: dict[str, list[int]] = {}
        self.serial = 0
        self.boot()

    def boot(self) -> None:
        earlier = [(name, 1, len(rows)) for name, rows in self.card.items() if rows]
        self.ledger = Ledger(
            card="card",
            version="1",
            nonce=lambda: f"{self.random.getrandbits(64):x}",
            retry_max_s=10,
        )
        self.ledger.opened(earlier, sum(hi for _, _, hi in earlier))
        self.stream = f"{self.random.getrandbits(63):016x}"
        self.started = False
        self.previous = (earlier[-1][0], earlier[-1][2]) if earlier else None

    def commit(self, rows: int) -> None:
        held = self.card.setdefault(self.stream, [])
        lo = len(held) + 1
        for _ in range(rows):
            self.serial += 1
            held.append(self.serial)
        if not self.started:
            self.started = True
            self.ledger.started(self.stream, self.previous)
        self.ledger.committed(lo, len(held))

    def rows(self, want: SendRows, hi: int) -> list[Content]:
        return [(want.stream, seq, self.card[want.stream][seq - 1]) for seq in range(want.lo, hi + 1)]


class Hub:
    """A database (survives kills, may be restored from a copy) and what is promised but not yet committed (does not)."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.known: dict[str, rules.Known] = {}
        self.stored: dict[tuple[str, int], list[int]] = {}
        self.backups: list[tuple[dict[str, rules.Known], dict[tuple[str, int], list[int]]]] = []
        self.restart()

    def restart(self) -> None:
        self.incarnation = f"{self.random.getrandbits(64):x}"

    def take(self, rows: list[Content], *, die: str | None) -> Ack | None:
        stream, lo, hi = rows[0][0], rows[0][1], rows[-1][1]
        header = Header(VERSION, ENCODING_COLUMNS, stream, lo, len(rows), 0)
        if die == "before":
            self.restart()
            return None
        admission = rules.admit(header, self.known.get(stream, rules.Known()))
        for _, seq, content in rows:
            if seq in admission.take:
                self.stored.setdefault((stream, seq), []).append(content)
        self.known[stream] = admission.after
        if die == "after":
            self.restart()
            return None
        assert hi == header.hi
        return rules.ack(self.incarnation, header, self.known[stream])

    def greet(self, hello: Hello) -> Answer:
        return rules.answer(hello, self.known, {}, incarnation=self.incarnation, time_ms=0)

    def backup(self) -> None:
        self.backups.append((deepcopy(self.known), deepcopy(self.stored)))

    def restore(self) -> None:
        if self.backups:
            self.known, self.stored = deepcopy(self.random.choice(self.backups))
            self.restart()


class World:
    """Steps of faults and deliveries; `heal` then lets everything through until nothing is pending."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.now = 0.0
        self.gateway, self.hub = Gateway(self.random), Hub(self.random)
        self.up: list[Hello | list[Content]] = []
        self.down: list[Answer | Ack] = []
        self.linked = False
        self.messages = 0

    def pump(self) -> None:
        ledger = self.gateway.ledger
        for _ in range(50):
            want = ledger.wants(self.now)
            if want is None:
                assert not ledger.deadline_s(self.now) <= self.now
                return
            if isinstance(want, SayHello):
                self.up.append(want.hello)
                continue
            want = ledger.schema_first(want, [1, 2])
            hi = min(want.hi, want.lo + self.random.randrange(1, 40) - 1)
            ledger.sent(want, hi, self.now)
            self.up.append(self.gateway.rows(want, hi))
            self.messages += 1
        raise AssertionError("the window does not close")

    def deliver_up(self, *, die: str | None = None, pick: int = 0) -> None:
        if not self.up:
            return
        message = self.up.pop(pick)
        if self.random.random() < 0.1:
            self.up.append(message)
        if isinstance(message, Hello):
            self.down.append(self.hub.greet(message))
        elif ack := self.hub.take(message, die=die):
            self.check_ack(ack)
            self.down.append(ack)

    def check_ack(self, ack: Ack) -> None:
        for lo, hi in ack.held:
            assert all((ack.stream, seq) in self.hub.stored for seq in range(lo, hi + 1)), "an ack names a row that is not there"

    def deliver_down(self, pick: int = 0) -> None:
        if not self.down:
            return
        message = self.down.pop(pick)
        if isinstance(message, Ack):
            self.gateway.ledger.acked(message, self.now)
        else:
            self.gateway.ledger.answered(message, self.now)

    def unlink(self) -> None:
        if self.linked:
            self.linked = False
            self.gateway.ledger.disconnected()
        for queue in (self.up, self.down):
            kept = [m for m in queue if self.random.random() < 0.3]
            queue[:] = kept  # type: ignore[assignment]  # the same kinds as before

    def link(self) -> None:
        if not self.linked:
            self.linked = True
            self.gateway.ledger.connected()

    def power_cut(self) -> None:
        self.unlink()
        self.gateway.boot()

    def any_of(self, queue: list[object]) -> int:
        return self.random.randrange(len(queue)) if queue and self.random.random() < 0.2 else 0

    def step(self) -> None:
        r = self.random
        flush = self.gateway.ledger.flushed
        acts: list[tuple[int, Callable[[], object]]] = [
            (8, lambda: self.gateway.commit(r.randrange(1, 6))),
            (6, flush),
            (14, self.pump),
            (14, lambda: self.deliver_up(pick=self.any_of(list(self.up)))),
            (14, lambda: self.deliver_down(pick=self.any_of(list(self.down)))),
            (2, lambda: self.deliver_up(die="before")),
            (2, lambda: self.deliver_up(die="after")),
            (3, self.unlink),
            (8, self.link),
            (1, self.power_cut),
            (1, self.hub.restart),
            (1, self.hub.backup),
            (1, self.hub.restore),
        ]
        r.choices([a for _, a in acts], [w for w, _ in acts])[0]()
        self.now += r.choice([0.0, 0.01, 0.5, 3.0, 20.0])

    def heal(self) -> None:
        self.gateway.commit(1)
        for _ in range(2000):
            self.link()
            self.gateway.ledger.flushed()
            self.pump()
            while self.up or self.down:
                self.deliver_up()
                self.deliver_down()
                self.pump()
            if self.gateway.ledger.pending() == 0 and self.gateway.ledger.online:
                return
            deadline = self.gateway.ledger.deadline_s(self.now)
            self.now = deadline if deadline != float("inf") else self.now + 1
        raise AssertionError(f"{self.gateway.ledger.pending()} rows are still pending")

    def check(self) -> None:
        """I1, I2, I4: what the card committed is in the front, once, as it was."""
        committed = {(s, seq): c for s, rows in self.gateway.card.items() for seq, c in enumerate(rows, 1)}
        assert set(self.hub.stored) == set(committed)
        assert all(self.hub.stored[k] == [c] for k, c in committed.items())
