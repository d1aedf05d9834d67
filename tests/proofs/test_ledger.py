"""Both ledgers under random faults, healed and judged by an oracle outside them; and the broken designs that must be caught.

Faults: power cuts of honest and lying cards, cards replaced and cloned, full disks and quotas, messages lost, repeated and
reordered, brokers and hubs killed before and after a commit, a frozen bridge, a hub down for days, restored from a backup, with a
wrong clock.
"""

from collections.abc import Callable

import pytest

from tests.proofs.model.card import Violation
from tests.proofs.model.mutants import MUTANTS, Mutant, gone_wrong
from tests.proofs.model.schedules import SCHEDULES
from tests.proofs.model.world import World

STEPS = 250
RUNS = 1000
BLOCKS = 4
ENOUGH = 400
"""Random runs within which a broken design is caught."""


@pytest.mark.proof
@pytest.mark.parametrize("block", range(BLOCKS))
def test_every_committed_row_is_in_the_front_once_or_tombstoned_when_the_faults_stop(block: int) -> None:
    for seed in range(block * RUNS // BLOCKS, (block + 1) * RUNS // BLOCKS):
        world = World(seed)
        try:
            world.run(STEPS).heal()
            world.judge()
        except Violation as violation:
            violation.add_note(f"seed {seed}, {STEPS} steps")
            raise


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s.__name__)
def test_a_rare_order_of_events_ends_well(schedule: Callable[[World], None]) -> None:
    schedule(World(1))


@pytest.mark.proof
@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.schedule is None], ids=lambda m: m.name)
def test_a_broken_design_is_caught_by_random_runs(mutant: Mutant) -> None:
    assert any(gone_wrong(mutant, seed, STEPS) for seed in range(ENOUGH))


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.schedule is not None], ids=lambda m: m.name)
def test_a_broken_design_is_caught_by_the_schedule_written_for_it(mutant: Mutant) -> None:
    assert mutant.schedule is not None
    with pytest.raises(Violation):
        mutant.schedule(World(1, mutant.design))


def test_more_than_two_pages_of_starts_come_through() -> None:
    world = World(3)
    world.gateway.quota_rows = 10_000
    for _ in range(250):
        world.flush()
        world.gateway.boot()
    world.heal()
    world.judge()


def test_a_quiet_link_sends_each_row_once() -> None:
    world = World(1)
    world.gateway.quota_rows = 10_000
    world.gateway.produce(500)
    world.calm()
    world.calm()
    world.judge()
    assert set(world.sent.values()) == {1}


def test_a_row_over_the_quota_is_tombstoned_and_never_missed() -> None:
    world = World(4)
    for _ in range(30):
        world.gateway.produce(5)
        world.now += 60
        world.flush()
    assert len(world.gateway.card.numbered()) <= world.gateway.quota_rows
    world.heal()
    world.judge()
    assert any(known.gone for known in world.hub.db.known.values())
