"""The simpler designs that lose, repeat or stall: each breaks one rule of the ledger and has to be caught."""

from collections.abc import Callable, Iterable

from msgspec import Struct
from msgspec.structs import replace

from edge.ledger import Ledger, SendRows
from hub.front import ledger as rules
from readings.batch import Header
from readings.messages import Ack, Answer
from tests.proofs.model import schedules
from tests.proofs.model.card import Device
from tests.proofs.model.hub import DAY_MS, MAX_AGE_DAYS, Hub, Message, Sets
from tests.proofs.model.world import Design, World


class OldAcksBelieved(Ledger):
    def acked(self, ack: Ack, now_s: float) -> None:
        super().acked(replace(ack, incarnation=self.incarnation or ""), now_s)


class NoNonce(Ledger):
    def answered(self, answer: Answer, now_s: float) -> None:
        asked = self._asked[0] if self._asked else ""
        super().answered(replace(answer, nonce=asked), now_s)


class NewestWithoutSchema(Ledger):
    def schema_first(self, rows: SendRows, schemas: Iterable[int], anchor: tuple[str, int] | None = None) -> SendRows:
        return rows


class DatabaseIdAndNumber(Device):
    """The stream is the card; numbers go on where the card stands."""

    def mint(self) -> tuple[str, int]:
        return self.card.name, self.card.book.ends.get(self.card.name, 0)


class AckBeforeCommit(Hub):
    def take(self, message: Message, now: float, *, die: str | None = None) -> Ack | None:
        begun = self.begin(message, now)
        if begun is None or die != "before":
            return super().take(message, now, die=die)
        ack = rules.ack(self.incarnation, begun.header, begun.admission.after)
        self.restart()
        return ack


class AckHighestSeen(Hub):
    def ack(self, header: Header) -> Ack:
        made = super().ack(header)
        return replace(made, held=[(1, self.db.known[header.stream].held.high or 1)])


class AckWithoutGot(Hub):
    def ack(self, header: Header) -> Ack:
        made = super().ack(header)
        return replace(made, got=made.held[0])


class SafeByAge(Hub):
    """Old enough is safe; nobody asks how many copies were made since."""

    def safe(self) -> Sets:
        old_ms = (MAX_AGE_DAYS + 1) * DAY_MS
        return next((sets for copy, sets in reversed(self.db.copies) if self.now_ms() - copy.made_ms >= old_ms), {})


class SafeYoungerThanABackup(Hub):
    """A day is enough, though older backups may still be restored."""

    def safe(self) -> Sets:
        return self.db.copies[-2][1] if len(self.db.copies) > 1 else {}


class NoLock(Hub):
    def locked(self, stream: str, now: float) -> bool:
        return False


class Mutant(Struct, frozen=True):
    """`schedule` None: random runs catch it."""

    name: str
    design: Design
    schedule: Callable[[World], None] | None = None


MUTANTS = (
    Mutant("delete on PUBACK", Design(puback_deletes=True)),
    Mutant("ack before the commit", Design(hub=AckBeforeCommit)),
    Mutant("ack = highest seen", Design(hub=AckHighestSeen)),
    Mutant("identity = database id + seq", Design(device=DatabaseIdAndNumber)),
    Mutant("delete on ack", Design(ack_deletes=True)),
    Mutant("safe by age alone", Design(hub=SafeByAge), schedules.the_hubs_clock_runs_ahead),
    Mutant("safe younger than the oldest backup", Design(hub=SafeYoungerThanABackup), schedules.the_oldest_backup_comes_back),
    Mutant("acks of an old incarnation believed", Design(ledger=OldAcksBelieved), schedules.an_ack_comes_after_the_restore),
    Mutant("no nonce in the answer", Design(ledger=NoNonce), schedules.an_answer_comes_after_the_restore),
    Mutant("two bridges without the lock", Design(hub=NoLock), schedules.two_bridges_take_one_message),
    Mutant("newest first without its schema", Design(ledger=NewestWithoutSchema), schedules.a_long_backlog_over_a_slow_link),
    Mutant("ack without got", Design(hub=AckWithoutGot), schedules.holes_in_a_long_stream),
)


def gone_wrong(mutant: Mutant, seed: int, steps: int) -> bool:
    """Whether one random run catches it."""
    world = World(seed, mutant.design)
    try:
        world.run(steps).heal()
        world.judge()
    except AssertionError:
        return True
    return False
