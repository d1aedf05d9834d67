"""Gateways that were away for days come back: nothing is lost, the newest rows come first, memory stays flat."""

from pathlib import Path

import pytest

from tests.faults.returns import come_back

pytestmark = [pytest.mark.server, pytest.mark.proof, pytest.mark.timeout(300)]
MEMORY_KB = 20_000


def test_after_thirty_days_offline_nothing_is_lost_and_the_newest_row_comes_first(tmp_path: Path) -> None:
    back = come_back(tmp_path, gateways=1, days=30, every_s=60, timeout_s=100)
    assert back.good, back
    assert back.rows > 30 * 1440
    assert back.newest_s <= 30, back
    assert back.grown_kb < MEMORY_KB, back


def test_many_gateways_return_at_once_and_the_broker_drops_nothing(tmp_path: Path) -> None:
    back = come_back(tmp_path, gateways=25, days=1, every_s=60, timeout_s=100)
    assert back.good, back
    assert back.newest_s <= 60, back
    assert back.grown_kb < 2 * MEMORY_KB, back
