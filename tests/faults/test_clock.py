"""Gateways whose wall clock is wrong, at 1970 or stepped by an hour: a real daemon, broker and hub."""

import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from edge.outbox import Outbox
from tests.e2e.network import Network, settled
from tests.faults.clock import FalseClock
from tests.faults.field import devices
from tests.servers import wait_until

pytestmark = [pytest.mark.server, pytest.mark.proof]


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Network]:
    with Network(tmp_path) as network:
        yield network


def times(net: Network) -> list[float]:
    """Unix time [s] of each reading of the particle sensor that the hub gives out."""
    found: list[dict[str, Any]] = net.get("/api/v1/sensors?name=lagos-44/pm")["results"]
    if not found:
        return []
    page = net.get(f"/api/v1/sensors/{found[0]['id']}/readings?from=1970-01-01T00:00:00Z&to=2100-01-01T00:00:00Z")
    return [datetime.fromisoformat(row[0]).timestamp() for row in page["rows"]]


def test_fault_44_a_daemon_that_boots_at_1970_gives_readings_of_today(net: Network, tmp_path: Path) -> None:
    sensors = devices(tmp_path)
    net.simulate(sensors)
    clock = FalseClock(tmp_path)
    clock.set("@1970-01-01 00:05:00")
    gateway = net.add("lagos-44", sensors, start=False)
    gateway.program.env = dict(clock.environment)
    begun = time.time()
    gateway.program.start()
    wait_until(lambda: len(times(net)) > 3, "readings with a time", 40)
    settled(net, gateway)
    with Outbox.read(gateway.store) as card:
        walls = [row.wall_ms for stream, lo, hi in card.streams() for _, row in card.rows(stream, lo, hi)]
    assert max(walls) < 86_400_000, "on the card it is 1970"
    assert all(begun - 5 <= at <= time.time() + 5 for at in times(net))


def test_fault_45_a_clock_that_steps_by_an_hour_changes_no_order_and_loses_nothing(net: Network, tmp_path: Path) -> None:
    sensors = devices(tmp_path)
    net.simulate(sensors)
    clock = FalseClock(tmp_path)
    clock.set("+0")
    gateway = net.add("lagos-44", sensors, start=False)
    gateway.program.env = dict(clock.environment)
    begun = time.time()
    gateway.program.start()
    wait_until(lambda: len(times(net)) > 3, "readings with a time", 40)
    for step in ("+3600", "-3600", "+0"):
        clock.set(step)
        seen = len(net.front("lagos-44"))
        wait_until(lambda seen=seen: len(net.front("lagos-44")) > seen + 6, f"rows after a step to {step}", 40)  # type: ignore[misc]
    settled(net, gateway)
    came = times(net)
    assert all(begun - 5 <= at <= time.time() + 5 for at in came)
    assert came == sorted(came)
