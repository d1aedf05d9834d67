"""Rare orders of events, written out: under the real design each ends well, and one broken design fails in it."""

from tests.proofs.model.card import hold
from tests.proofs.model.world import World


def all_held(world: World) -> None:
    """Five rows and more are committed, sent and acked."""
    world.gateway.produce(5)
    world.flush()
    world.link()
    world.exchange()


def fill_the_card(world: World) -> None:
    """So many rows that old ones have to leave."""
    for _ in range(12):
        world.gateway.produce(5)
        world.flush()
        world.exchange()


def the_hubs_clock_runs_ahead(world: World) -> None:
    """A backup of before the rows; a clock nine days ahead makes a copy of today look old."""
    world.hub.backup()
    all_held(world)
    world.day_passes()
    world.hub.clock_off = 9.0
    world.exchange()
    fill_the_card(world)
    world.hub.restore()
    world.heal()
    world.judge()


def the_oldest_backup_comes_back(world: World) -> None:
    """A backup of before the rows is restored on its last day."""
    world.hub.backup()
    all_held(world)
    world.day_passes()
    world.day_passes()
    world.exchange()
    fill_the_card(world)
    world.hub.restore()
    world.heal()
    world.judge()


def an_ack_comes_after_the_restore(world: World) -> None:
    """The hub acks, is restored to the time before, answers a hello; then the ack of its earlier life arrives."""
    all_held(world)
    world.hub.backup()
    world.gateway.produce(5)
    world.flush()
    world.exchange_up()
    late, world.down = world.down, []
    world.hub.restore()
    world.gateway.ledger.disconnected()
    world.gateway.ledger.connected()
    world.up = []
    world.pump()
    world.exchange_up()
    world.down += late
    while world.down:
        world.deliver_down()
    world.calm()
    world.judge()


def an_answer_comes_after_the_restore(world: World) -> None:
    """An answer is late by one hello and one restore; the gateway must not take it for the answer to its last one."""
    world.hub.backup()
    all_held(world)
    for again in (False, True):
        world.gateway.ledger.disconnected()
        world.gateway.ledger.connected()
        world.pump()
        if again:
            world.hub.restore()
        while world.up:
            world.deliver_up()
    world.exchange()
    believed = world.gateway.ledger.online and world.gateway.ledger.pending() == 0
    held = all(key in world.hub.db.stored for key in world.gateway.card.numbered())
    hold(held or not believed, "I1 the gateway believes rows to be held that are not")
    world.calm()
    world.judge()


def two_bridges_take_one_message(world: World) -> None:
    """A message comes again while a bridge stands still in its transaction; the second bridge must not take it too."""
    all_held(world)
    world.gateway.produce(5)
    world.flush()
    world.pump()
    world.up.append(world.up[-1])
    world.freeze()
    while world.up:
        world.deliver_up()
    world.thaw()
    world.heal()
    world.judge()


def a_long_backlog_over_a_slow_link(world: World) -> None:
    """A new life after 2,000 rows that nobody has: a fresh row must be readable at once, not when the backlog is through."""
    device = world.gateway
    device.quota_rows = 10_000
    world.hop_s = 1.0
    for _ in range(2):
        device.produce(1000)
        world.flush()
    device.boot()
    world.flush()
    world.calm()
    world.judge()


def holes_in_a_long_stream(world: World) -> None:
    """The hub holds every second row; an ack tells of 64 intervals at most, and yet no row goes twice over a good link."""
    device = world.gateway
    device.quota_rows = 10_000
    world.hop_s = 2.0
    device.produce(400)
    world.flush()
    rows = device.card.rows[device.stream]
    for seq in range(4, 402, 2):
        world.hub.take((device.stream, [(seq, rows[seq])]), world.now)
    device.produce(1)
    world.flush()
    world.link()
    for _ in range(100):
        world.exchange()
        world.now += 1
    hold(max(world.sent.values()) == 1, "I7 rows go again and again over a good link")


def a_full_card_takes_rows_while_its_hello_is_on_its_way(world: World) -> None:
    """The hello of a card that refuses commits names no stream; its answer must not put off the hello that does."""
    world.gateway.disk_full = True
    world.flush()
    world.link()
    world.pump()
    world.gateway.disk_full = False
    world.flush()
    world.exchange()
    hold(world.gateway.ledger.pending() == 0, "I8 rows are still pending")
    world.judge()


def a_gateway_sleeps_while_its_hello_is_answered(world: World) -> None:
    """A day between hello and answer is no round trip: rows lost right after it go again within minutes."""
    world.flush()
    world.link()
    world.pump()
    world.now += 86_400
    world.deliver_up()
    world.deliver_down()
    world.pump()
    world.up = []
    for _ in range(120):
        world.exchange()
        world.now += 1
    hold(world.gateway.ledger.pending() == 0, "I8 rows are still pending")
    world.judge()


SCHEDULES = (
    a_gateway_sleeps_while_its_hello_is_answered,
    a_full_card_takes_rows_while_its_hello_is_on_its_way,
    the_hubs_clock_runs_ahead,
    the_oldest_backup_comes_back,
    an_ack_comes_after_the_restore,
    an_answer_comes_after_the_restore,
    two_bridges_take_one_message,
    a_long_backlog_over_a_slow_link,
    holes_in_a_long_stream,
)
