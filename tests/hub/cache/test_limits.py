"""Limits: one contract, in memory and over a real Redis; and what holds while Redis is away, hangs or has forgotten."""

import logging
import secrets
import time
from collections.abc import Callable, Iterator
from threading import Thread

import pytest

from hub.cache import Limits, open_limits
from hub.cache.memory import Memory
from hub.settings import Settings
from tests.servers import free_port, open_redis, wait_until

MINUTE = 60
HALF_DAY = 43_200
"""So long that no window ends while a test runs, but for once in hours."""


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.server)])
def limits(request: pytest.FixtureRequest) -> Iterator[Limits]:
    opened = open_limits("" if request.param == "memory" else str(request.getfixturevalue("redis_url")))
    yield opened
    opened.close()


@pytest.fixture
def key() -> str:
    """A key that no other test uses: the Redis is one for all."""
    return secrets.token_hex(8)


def test_so_many_pass_and_not_one_more(limits: Limits, key: str) -> None:
    seen = [limits.hit("login", key, per=(3, HALF_DAY)) for _ in range(5)]
    assert [verdict.allowed for verdict in seen] == [True, True, True, False, False]
    assert [verdict.remaining for verdict in seen] == [2, 1, 0, 0, 0]
    assert {verdict.limit for verdict in seen} == {3}
    assert all(1 <= verdict.reset_s <= HALF_DAY for verdict in seen)


def test_names_and_keys_are_counted_apart(limits: Limits, key: str) -> None:
    assert limits.hit("a", key, per=(1, HALF_DAY)).allowed
    assert limits.hit("b", key, per=(1, HALF_DAY)).allowed
    assert limits.hit("a", key + "x", per=(1, HALF_DAY)).allowed
    assert not limits.hit("a", key, per=(1, HALF_DAY)).allowed


def test_a_cost_takes_more_and_none_only_asks(limits: Limits, key: str) -> None:
    assert limits.hit("rows", key, per=(10, HALF_DAY), cost=9).remaining == 1
    assert limits.hit("rows", key, per=(10, HALF_DAY), cost=0).allowed
    assert limits.hit("rows", key, per=(10, HALF_DAY), cost=1).remaining == 0
    assert not limits.hit("rows", key, per=(10, HALF_DAY), cost=0).allowed


def test_a_window_ends_when_it_said(limits: Limits, key: str) -> None:
    while (verdict := limits.hit("short", key, per=(1, 2))).allowed:
        pass
    time.sleep(verdict.reset_s)
    assert limits.hit("short", key, per=(1, 2)).allowed


def test_threads_lose_no_hit(limits: Limits, key: str) -> None:
    def hits() -> None:
        for _ in range(500):
            limits.hit("many", key, per=(2000, HALF_DAY))

    threads = [Thread(target=hits) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert limits.hit("many", key, per=(2001, HALF_DAY)).remaining == 0


def test_a_key_s_windows_begin_at_a_moment_of_its_own() -> None:
    limits = Memory(lambda: 1_800_000_000.0)
    resets = {limits.hit("any", str(number), per=(1, MINUTE)).reset_s for number in range(200)}
    assert len(resets) > 50


def test_a_flood_of_keys_costs_a_bounded_memory_and_no_other_name_its_counts() -> None:
    limits = Memory(most=100)
    limits.hit("login", "ada", per=(1, HALF_DAY))
    for number in range(1000):
        limits.hit("address", str(number), per=(1, HALF_DAY))
    assert {name: len(table) for (name, _), table in limits._tables.items()} == {"login": 1, "address": 100}
    assert not limits.hit("login", "ada", per=(1, HALF_DAY)).allowed


def test_counts_that_are_over_make_room() -> None:
    now = [1_800_000_000.0]
    limits = Memory(lambda: now[0])
    for number in range(100):
        limits.hit("address", str(number), per=(1, MINUTE))
    now[0] += 2 * MINUTE
    for number in range(100, 200):
        limits.hit("address", str(number), per=(1, MINUTE))
    assert len(limits._tables["address", MINUTE]) == 100


@pytest.mark.server
def test_two_processes_share_one_count(redis_url: str, key: str) -> None:
    here, there = open_limits(redis_url), open_limits(redis_url)
    for _ in range(6):
        here.hit("login", key, per=(10, HALF_DAY))
    there.hit("login", key, per=(10, HALF_DAY))
    wait_until(lambda: remaining(there, key) == 3, "the other's hits")
    for limits in (here, there):
        limits.close()


def remaining(limits: Limits, key: str) -> int:
    return limits.hit("login", key, per=(10, HALF_DAY), cost=0).remaining


@pytest.mark.server
def test_redis_killed_and_back_costs_no_hit_no_wait_and_two_lines(key: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hub.cache")
    with open_redis() as redis:
        limits = open_limits(redis.url)
        wait_until(lambda: limits.state().ok, "redis")
        limits.hit("login", key, per=(10, HALF_DAY), cost=2)
        redis.kill()
        assert slowest(lambda: limits.hit("login", key, per=(10, HALF_DAY)), 3) < 0.2
        wait_until(lambda: not limits.state().ok, "the state")
        assert "counted in this process" in limits.state().why
        assert remaining(limits, key) == 5
        time.sleep(1.2)  # a second try must not be a second line
        redis.start()
        wait_until(lambda: limits.state().ok, "redis is back", 5)
        other = open_limits(redis.url)
        other.hit("login", key, per=(10, HALF_DAY))
        wait_until(lambda: remaining(other, key) <= 6, "what was counted meanwhile is told")
        limits.hit("login", key, per=(10, HALF_DAY))
        wait_until(lambda: remaining(limits, key) <= 3, "a Redis that forgot costs nobody the hits counted here")
        for one in (limits, other):
            one.close()
    said = [record.getMessage().split(":")[0] for record in caplog.records]
    assert said == ["redis away", "redis back"]


@pytest.mark.server
def test_a_redis_that_hangs_slows_no_hit(key: str) -> None:
    with open_redis() as redis:
        limits = open_limits(redis.url)
        wait_until(lambda: limits.state().ok, "redis")
        redis.freeze()
        assert slowest(lambda: limits.hit("login", key, per=(1000, HALF_DAY)), 200) < 0.2
        wait_until(lambda: not limits.state().ok, "the state")
        redis.thaw()
        wait_until(lambda: limits.state().ok, "redis is back", 5)
        limits.close()


def test_a_redis_that_was_never_there_is_no_reason_not_to_start(key: str) -> None:
    limits = open_limits(f"redis://127.0.0.1:{free_port()}/0")
    assert limits.hit("login", key, per=(1, HALF_DAY)).allowed
    assert not limits.hit("login", key, per=(1, HALF_DAY)).allowed
    assert not limits.state().ok
    limits.close()


@pytest.mark.server
def test_what_was_counted_cannot_be_read_in_redis(redis_url: str) -> None:
    from redis import Redis as Client

    limits = open_limits(redis_url)
    limits.hit("login", "ada@example.org", per=(10, HALF_DAY))
    limits.close()
    client = Client.from_url(redis_url)
    found = b" ".join(client.keys("harmattan:limit:login:*"))  # type: ignore[arg-type]
    assert found
    assert b"ada@" not in found  # "ada" alone are three digits of a hash
    client.close()


@pytest.mark.parametrize(
    "url", ["redis://localhost", "rediss://u:p@redis.example.org:6380/1", "unix:///run/redis/redis.sock", ""]
)
def test_the_addresses_that_settings_take(url: str) -> None:
    assert Settings(redis_url=url).redis_url == url


def slowest(hit: Callable[[], object], times: int) -> float:
    """The longest that one of so many hits took [s]."""
    took = []
    for _ in range(times):
        begun = time.perf_counter()
        hit()
        took.append(time.perf_counter() - begun)
    return max(took)
