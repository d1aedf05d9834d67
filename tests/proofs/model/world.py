"""A seed in; a gateway, a hub, a bad link and an oracle outside them, driven by random faults, then healed and judged.

`World(seed, design)` takes steps; `heal` lets everything through until nothing is pending; `judge` checks I1 to I6. I7 and I8 are
checked on the way.
"""

from collections.abc import Callable
from random import Random

from msgspec import Struct
from msgspec.structs import replace

from edge.ledger import Ledger, SayHello
from hub.front import ledger as rules
from readings.messages import Ack, Answer, Hello
from readings.ranges import Ranges
from tests.proofs.model.card import SCHEMA, Card, Device, Item, Key, hold
from tests.proofs.model.hub import Hub, Message

DAY_S = 86_400.0
FRESH_S = 30.0
"""A fresh row is stored within this time of the link's return (I8)."""
HOP_S = 0.05
HEAL_STEPS = 3000


class Design(Struct, frozen=True):
    """What the world is built of: the real parts, or one of them broken."""

    device: type[Device] = Device
    hub: type[Hub] = Hub
    ledger: type[Ledger] = Ledger
    puback_deletes: bool = False
    ack_deletes: bool = False


REAL = Design()


class World:
    """Faults come as methods; `step` takes one of them at random."""

    def __init__(self, seed: int, design: Design = REAL) -> None:
        self.random = Random(seed)
        self.design = design
        self.now = 0.0
        self.oracle: dict[Key, Item] = {}
        self.excused: set[Key] = set()
        self.hub = design.hub(self.random)
        self.devices = [self.device(self.card(lies=self.random.random() < 0.3))]
        self.speaking = 0
        self.up: list[Hello | Message] = []
        self.down: list[Answer | Ack] = []
        self.linked = False
        self.messages = 0
        self.sent: dict[Key, int] = {}
        self.hop_s = HOP_S
        self.due: tuple[Key, float] | None = None
        self.days = 0
        self.lost_cards: list[Card] = []

    def card(self, *, lies: bool = False) -> Card:
        return Card(f"{self.random.getrandbits(63):016x}", self.random, lies=lies)

    def device(self, card: Card) -> Device:
        kind = type("Built", (self.design.device,), {"ledger_class": self.design.ledger})
        made: Device = kind(card, self.random, self.oracle)
        return made

    @property
    def gateway(self) -> Device:
        """The device that has the link: a broker lets a name in once."""
        return self.devices[self.speaking]

    # ---- the link

    def pump(self) -> None:
        """Send what the ledger wants to send now."""
        device, sent = self.gateway, 0
        device.now = self.now
        ledger = device.ledger
        for _ in range(60):
            want = ledger.wants(self.now)
            if want is None:
                hold(not ledger.deadline_s(self.now) <= self.now, "I7 a deadline that is past")
                hold(sent <= ledger.window.messages, "I7 more messages than the window has")
                return
            if isinstance(want, SayHello):
                self.up.append(want.hello)
                continue
            want = ledger.schema_first(want, [SCHEMA])
            rows = device.read(want, self.random.randrange(1, 40))
            if not rows:
                continue
            sent += 1
            self.messages += 1
            lo, hi = rows[0][0], rows[-1][0]
            ledger.sent(replace(want, lo=lo), hi, self.now)
            self.up.append((want.stream, rows))
            self.sent.update({(want.stream, seq): self.sent.get((want.stream, seq), 0) + 1 for seq, _ in rows})
            if self.design.puback_deletes:
                device.forget(want.stream, Ranges.span(lo, hi))
        hold(False, "I7 the window does not close")

    def deliver_up(self, *, die: str | None = None, pick: int = 0) -> None:
        if not self.up:
            return
        message = self.up.pop(pick)
        if self.random.random() < 0.1:
            self.up.append(message)
        if not self.hub.up:
            return
        if isinstance(message, Hello):
            self.down.append(self.hub.greet(message))
        elif ack := self.hub.take(message, self.now, die=die):
            self.say(ack)

    def say(self, ack: Ack) -> None:
        self.hub.check_ack(ack)
        self.down.append(ack)

    def deliver_down(self, pick: int = 0) -> None:
        if not self.down:
            return
        message, device = self.down.pop(pick), self.gateway
        if isinstance(message, Answer):
            device.ledger.answered(message, self.now)
            device.answered = device.answered or device.ledger.online
            return
        device.ledger.acked(message, self.now)
        if self.design.ack_deletes:
            for lo, hi in message.held:
                device.forget(message.stream, Ranges.span(lo, hi))

    def link(self) -> None:
        if not self.linked:
            self.linked = True
            self.gateway.ledger.connected()

    def unlink(self) -> None:
        """Reset: some of what was on its way arrives all the same, late."""
        if self.linked:
            self.linked = False
            self.gateway.ledger.disconnected()
        self.up = [m for m in self.up if self.random.random() < 0.3]
        self.down = [m for m in self.down if self.random.random() < 0.3]

    def broker_killed(self) -> None:
        """It keeps nothing."""
        self.unlink()
        self.up, self.down = [], []

    # ---- the gateway's faults

    def power_cut(self) -> None:
        self.unlink()
        self.gateway.now = self.now
        lost = self.gateway.card.power_cut()
        self.excuse(lost)
        self.gateway.boot()

    def excuse(self, lost: set[Key]) -> None:
        """No design could keep these rows, nor those that only a tombstone among them told of."""
        losses = [loss for key in lost if (loss := self.oracle[key].loss) is not None]
        self.excused |= lost | {(loss.stream, seq) for loss in losses for seq in loss.ranges.numbers()}

    def card_replaced(self) -> None:
        """The card is gone with all that only it had."""
        self.unlink()
        old = self.gateway.card
        self.lost_cards.append(old)
        self.excuse(old.numbered())
        self.devices[self.speaking] = self.device(self.card())

    def card_cloned(self) -> None:
        """A second device wakes with a copy of the card, under the same name."""
        if len(self.devices) > 1:
            return
        self.unlink()
        self.devices.append(self.device(self.gateway.card.clone()))

    def takeover(self) -> None:
        """The other device takes the link."""
        if len(self.devices) > 1:
            self.unlink()
            self.speaking = 1 - self.speaking

    def disk_full(self) -> None:
        self.gateway.disk_full = not self.gateway.disk_full

    # ---- the hub's faults

    def freeze(self) -> None:
        message = self.up[0] if self.up else None
        if self.hub.up and isinstance(message, tuple):
            self.hub.freeze(self.up.pop(0), self.now)  # type: ignore[arg-type]  # looked at a line above

    def thaw(self) -> None:
        if ack := self.hub.thaw(self.now):
            self.say(ack)

    def hub_down(self) -> None:
        self.hub.restart()
        self.hub.up = False

    def hub_back(self) -> None:
        if not self.hub.up:
            self.hub.restart()

    def clock_step(self) -> None:
        """The hub's clock runs days ahead, or is put right again."""
        self.hub.clock_off = 0.0 if self.hub.clock_off else float(self.random.randrange(2, 9))

    def day_passes(self) -> None:
        self.now += DAY_S
        self.days += 1
        self.hub.days = float(self.days)
        self.hub.day(self.days)

    # ---- a run

    def any_of(self, queue: int) -> int:
        return self.random.randrange(queue) if queue and self.random.random() < 0.2 else 0

    def produce(self) -> None:
        self.gateway.produce(self.random.randrange(1, 6))

    def flush(self) -> None:
        self.gateway.now = self.now
        self.gateway.commit()
        self.gateway.ledger.flushed()

    def acts(self) -> list[tuple[float, Callable[[], object]]]:
        hub = self.hub
        return [
            (8, self.produce),
            (9, self.flush),
            (14, self.pump),
            (14, lambda: self.deliver_up(pick=self.any_of(len(self.up)))),
            (14, lambda: self.deliver_down(pick=self.any_of(len(self.down)))),
            (2, lambda: self.deliver_up(die="before")),
            (2, lambda: self.deliver_up(die="after")),
            (2, lambda: self.down and self.down.pop(self.random.randrange(len(self.down)))),
            (3, self.unlink),
            (8, self.link),
            (1, self.broker_killed),
            (1.5, self.power_cut),
            (0.15, self.card_replaced),
            (0.15, self.card_cloned),
            (0.6, self.takeover),
            (0.5, self.disk_full),
            (0.6, lambda: self.gateway.card.damage()),
            (1.5, self.freeze),
            (1.5, self.thaw),
            (1, hub.restart),
            (0.4, self.hub_down),
            (0.8, self.hub_back),
            (2, hub.settle),
            (3, self.day_passes),
            (0.3, self.clock_step),
            (1.2, hub.backup),
            (0.8, hub.restore),
        ]

    def run(self, steps: int) -> "World":
        acts = self.acts()
        calls, weights = [a for _, a in acts], [w for w, _ in acts]
        for act in self.random.choices(calls, weights, k=steps):
            act()
            self.now += self.random.choice((0.0, 0.01, 0.5, 3.0, 20.0))
        return self

    # ---- healing and judgement

    def heal(self) -> None:
        """The faults stop: every device in turn sends what it has, and a fresh row comes through in time."""
        self.hub.up, self.hub.clock_off = True, 0.0
        self.hub.frozen.clear()
        for at in range(len(self.devices)):
            self.speaking = at
            if len(self.devices) > 1 or self.random.random() < 0.7:
                self.unlink()
            self.gateway.disk_full = False
            self.calm()
            self.due = None
        self.hub.settle()

    def calm(self) -> None:
        """One device, a good link. Over a link that comes back, a fresh row comes at once."""
        prompt = not self.linked
        self.link()
        began, fresh, device = self.now, None, self.gateway
        for _ in range(HEAL_STEPS):
            if fresh is None:
                fresh = self.fresh()
                self.due = (fresh, began + FRESH_S) if fresh and prompt else None
            device.ledger.flushed()
            self.exchange()
            if device.damaged:
                device.commit()
            elif device.ledger.pending() == 0 and device.ledger.online and fresh and fresh in self.hub.db.stored:
                return
            due = device.ledger.deadline_s(self.now)
            self.now = min(due, self.now + 1) if not self.up and not self.down else self.now
        hold(False, f"I8 {device.ledger.pending()} rows are still pending")

    def fresh(self) -> Key | None:
        """A row of now, if the card takes it: one that is over its quota waits for an answer first."""
        device = self.gateway
        device.now = self.now
        device.produce(1)
        device.commit()
        rows, bad = device.card.rows.get(device.stream, {}), device.card.bad
        samples = [seq for seq, item in rows.items() if item.kind == "sample" and (device.stream, seq) not in bad]
        return (device.stream, max(samples)) if samples and not device.ring else None

    def exchange(self) -> None:
        """All that can go goes, each hop in its time."""
        self.pump()
        while self.up or self.down:
            self.now += self.hop_s
            self.deliver_up()
            self.deliver_down()
            self.pump()
            if self.due and not self.hub.readable(self.due[0]):
                hold(self.now <= self.due[1], "I8 a fresh row is not readable in time")

    def exchange_up(self) -> None:
        """All that can go up goes; what the hub says to it stays on its way."""
        self.pump()
        while self.up:
            self.now += self.hop_s
            self.deliver_up()

    def judge(self) -> None:
        """I1, I2, I4, I5, I6, with the oracle in hand."""
        db = self.hub.db
        kept = {key for key, item in self.oracle.items() if key not in db.stored and not self.buried(key)}
        hold(kept <= self.excused, f"I1 {len(kept - self.excused)} committed rows are neither in the front nor tombstoned")
        hold(all(len(items) == 1 for items in db.stored.values()), "I2 a row is stored twice")
        hold(all(self.oracle.get(key) == items[0] for key, items in db.stored.items()), "I4 a row is stored as it never was")
        contents = [items[0].content for items in db.stored.values()]
        hold(len(contents) == len(set(contents)), "I2 a content is stored twice")
        if any(any(key in kept for key in card.numbered()) for card in self.lost_cards):
            known = any(card.name in db.cards for card in self.lost_cards)
            hold(not known or "new card" in db.alarms, "I5 a card was lost and nobody is told")
        self.hub.account(list(self.excused))

    def buried(self, key: Key) -> bool:
        return key[1] in self.hub.db.known.get(key[0], rules.Known()).gone
