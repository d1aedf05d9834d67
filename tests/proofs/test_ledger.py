"""The ledger under random faults: power cuts, kills, lost, repeated and reordered messages, a hub restored from a copy."""

import pytest

from tests.proofs.ledger_model import World


@pytest.mark.parametrize("block", range(4))
def test_every_committed_row_is_held_once_after_the_faults_stop(block: int) -> None:
    for seed in range(block * 50, block * 50 + 50):
        world = World(seed)
        for _ in range(250):
            world.step()
        world.heal()
        world.check()


def test_a_quiet_link_sends_each_row_once() -> None:
    world = World(1)
    world.gateway.commit(500)
    world.heal()
    world.check()
    sent = world.messages
    world.heal()
    assert world.messages == sent + 1  # the one row that was committed since


def test_the_newest_rows_go_before_a_long_backlog() -> None:
    world = World(2)
    world.gateway.commit(3)
    world.gateway.ledger.flushed()
    world.link()
    world.gateway.commit(4000)
    world.gateway.ledger.flushed()
    world.gateway.commit(5)
    world.gateway.ledger.flushed()
    world.pump()
    world.deliver_up()
    world.deliver_down()
    world.pump()
    rows = [m for m in world.up if isinstance(m, list)]
    assert rows[0][0][1] == 1  # the schema that the newest rows are read by
    for _ in range(12):
        world.deliver_up()
        world.deliver_down()
        world.pump()
    assert (world.gateway.stream, 4008) in world.hub.stored
    assert len(world.hub.stored) < 500
