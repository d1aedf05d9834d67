"""The outbox after power cuts: its real writes, journaled; disks built at random moments under five loss models and with lies.

kill -9 proves nothing about power: a kernel that lives on writes everything out.
"""

from collections.abc import Sequence
from random import Random

import pytest

from tests.faults import power
from tests.faults.images import Recording, judge, record
from tests.faults.power import LOSSES, Op, after_a_cut
from tests.servers import absent

IMAGES = 300
pytestmark = pytest.mark.proof


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Recording]:
    """One on a roomy card, one whose quota evicts all the time."""
    cc = power.compiler() or absent("cc")
    folder = tmp_path_factory.mktemp("journals")
    library = power.library(folder, cc)
    return [
        record(folder, library, seed=1, commits=150, quota_bytes=64 << 20),
        record(folder, library, seed=2, commits=150, quota_bytes=192 << 10),
    ]


@pytest.mark.parametrize("loss", range(len(LOSSES)), ids=LOSSES)
def test_every_image_opens_alone_and_an_honest_disk_keeps_every_promise(loss: int, recordings: Sequence[Recording]) -> None:
    verdicts = [judge(recordings[i % 2], len(LOSSES) * i + loss) for i in range(IMAGES // len(LOSSES))]
    assert {v.loss for v in verdicts} == {LOSSES[loss]}
    assert [v for v in verdicts if not v.good] == []
    assert max(v.promised for v in verdicts) > 300


def test_rows_that_a_disk_only_said_it_had_synced_are_lost_with_its_lie(recordings: Sequence[Recording]) -> None:
    """The instrument itself: it can lose rows."""
    verdicts = [judge(recordings[0], seed) for seed in range(20, 520, 25)]  # the loss model `nothing`, all syncs dropped
    assert {(v.loss, v.lies) for v in verdicts} == {("nothing", 1.0)}
    assert sum(v.lost for v in verdicts) > 0
    assert not any(v.wrong for v in verdicts)


def test_a_disk_keeps_what_was_synced_and_no_more() -> None:
    ops = [Op("w", "a", 0, b"x" * 1024), Op("s", "a", 0, b""), Op("w", "a", 0, b"y" * 1024), Op("w", "b", 0, b"z")]
    assert after_a_cut(ops, "nothing", Random(1)).files == {"a": bytearray(b"x" * 1024)}
    assert after_a_cut(ops, "all", Random(1)).files == {"a": bytearray(b"y" * 1024), "b": bytearray(b"z")}
    torn = {bytes(after_a_cut(ops, "torn", Random(seed)).files["a"]) for seed in range(50)}
    assert len(torn) == 4
