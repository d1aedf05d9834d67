"""One thread per port: what a bad sensor may cost its neighbours, on the same line and on others."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count

import pytest
from msgspec import Struct

from adapters.transport.base import Garbage, NoData, Unanswered, Unplugged, Waking, WarmingUp, boottime_ns
from edge.health import Clock
from edge.poll import Polled, PortWorker, Post
from readings.errors import Trouble
from readings.sample import Channel, Schema


class Heard(Struct, frozen=True):
    values: tuple[int | None, ...]
    flags: tuple[int, ...]
    arrived_mono_ns: int
    instrument_time_ms: int | None = None
    counted: dict[str, int] = {}


class Well:
    """A device in memory: counts its answers; `fault` may be set to what it does instead."""

    def __init__(self, name: str, *, instrument: int | None = None) -> None:
        self.schema = Schema(name, "test.well", "00" * 32, "", (Channel("pm2_5", "ug/m3", 0),))
        self.numbers = count(1)
        self.fault: Callable[[float], None] | None = None
        self.opened = self.closed = 0
        self.asked_s: list[float] = []
        self.instrument = instrument

    def open(self) -> None:
        self.opened += 1

    def close(self) -> None:
        self.closed += 1

    def sample(self, deadline_s: float) -> Heard:
        self.asked_s.append(time.monotonic())
        if self.fault is not None:
            self.fault(deadline_s)
        return Heard((next(self.numbers),), (1,), boottime_ns(), self.instrument)


def silent(deadline_s: float) -> None:
    time.sleep(deadline_s)
    raise Unanswered("no answer in time", hint="look at its cable")


def gone(_: float) -> None:
    raise Unplugged("/dev/ttyUSB0 vanished")


class Bench:
    """Workers under test and what they posted."""

    def __init__(self) -> None:
        self.inbox: queue.SimpleQueue[Polled] = queue.SimpleQueue()
        self.workers: list[PortWorker] = []
        self.clock = Clock()

    def port(self, *posts: Post) -> PortWorker:
        worker = PortWorker(f"port{len(self.workers)}", posts, post=self.inbox.put, clock=self.clock)
        self.workers.append(worker)
        worker.start()
        return worker

    def until(self, wanted: Callable[[Polled], bool], timeout_s: float = 5.0) -> list[Polled]:
        """What came, up to the first that is wanted."""
        seen: list[Polled] = []
        end = time.monotonic() + timeout_s
        while True:
            seen.append(self.inbox.get(timeout=max(0.01, end - time.monotonic())))
            if wanted(seen[-1]):
                return seen


@pytest.fixture
def bench() -> Iterator[Bench]:
    it = Bench()
    yield it
    for worker in it.workers:
        worker.stop()
    assert all(worker.join(2.0) for worker in it.workers)


def post(name: str, device: Well, every_s: float = 0.05, timeout_s: float = 0.5) -> Post:
    return Post(name, device, every_s, timeout_s)


def got(n: int, name: str) -> Callable[[Polled], bool]:
    return lambda p: p.sensor == name and p.sample is not None and p.sample.values == (n,)


def test_samples_come_on_the_grid_and_due_times_do_not_drift(bench: Bench) -> None:
    device = Well("a")
    device.fault = lambda _: time.sleep(0.01)
    bench.port(post("a", device))
    bench.until(got(20, "a"))
    first = device.asked_s[0]
    offsets = [(asked - first) / 0.05 for asked in device.asked_s[:20]]
    assert [round(at) for at in offsets] == sorted({round(at) for at in offsets})
    assert sum(abs(at - round(at)) < 0.3 for at in offsets) >= 16


def test_slots_that_were_missed_are_skipped_not_caught_up(bench: Bench) -> None:
    device = Well("a")
    stall = iter([0.0, 0.22])
    device.fault = lambda _: time.sleep(next(stall, 0.0))
    bench.port(post("a", device))
    bench.until(got(6, "a"))
    gaps = [b - a for a, b in zip(device.asked_s[1:], device.asked_s[2:], strict=False)]
    assert gaps[0] >= 0.2
    assert all(gap > 0.02 for gap in gaps[1:])


def test_a_silent_sensor_on_another_port_delays_nobody(bench: Bench) -> None:
    good, bad = Well("good"), Well("bad")
    bad.fault = lambda _: time.sleep(1.0)
    bench.port(post("bad", bad))
    bench.port(post("good", good))
    seen = bench.until(got(10, "good"))
    assert all(p.sensor == "good" for p in seen)
    assert good.asked_s[9] - good.asked_s[0] < 0.9


def test_a_dead_neighbour_on_a_shared_line_costs_no_slot(bench: Bench) -> None:
    good, dead = Well("good"), Well("dead")
    dead.fault = silent
    bench.port(post("dead", dead, 0.1), post("good", good, 0.1))
    bench.until(got(15, "good"))
    slots = [round((asked - good.asked_s[0]) / 0.1, 1) for asked in good.asked_s[:15]]
    assert slots[-1] < 17
    assert 2 <= len(dead.asked_s) < 8


def test_each_failure_is_told_with_what_to_do(bench: Bench) -> None:
    device = Well("a")
    device.fault = silent
    bench.port(post("a", device, timeout_s=0.01))
    told = bench.until(lambda p: p.state == "no_answer")[-1]
    assert (told.sensor, told.why, told.hint, told.sample) == ("a", "no answer in time", "look at its cable", None)


@pytest.mark.parametrize(
    ("trouble", "state"),
    [(Garbage("junk", code="bad_checksum"), "garbage"), (NoData("nothing new"), "no_data"), (Unplugged("gone"), "unplugged")],
)
def test_the_kind_of_trouble_is_the_state(bench: Bench, trouble: Trouble, state: str) -> None:
    device = Well("a")

    def fail(_: float) -> None:
        raise trouble

    device.fault = fail
    bench.port(post("a", device))
    assert bench.until(lambda p: True)[-1].state == state


def test_a_sensor_that_comes_back_is_back_on_its_grid(bench: Bench) -> None:
    device = Well("a")
    device.fault = gone
    bench.port(post("a", device))
    bench.until(lambda p: p.state == "unplugged")
    device.fault = None
    bench.until(got(3, "a"))
    assert device.opened >= 2
    assert device.closed >= 1


def test_a_failing_sensor_is_asked_less_and_less(bench: Bench) -> None:
    device = Well("a")
    device.fault = gone
    worker = bench.port(post("a", device, every_s=0.02))
    for _ in range(4):
        bench.until(lambda p: p.state == "unplugged")
    worker.stop()
    gaps = [b - a for a, b in zip(device.asked_s, device.asked_s[1:], strict=False)]
    assert [round(gap / 0.02) >= 2**n for n, gap in enumerate(gaps)] == [True] * len(gaps)


def test_a_bug_in_one_adapter_is_a_state_and_its_neighbour_goes_on(bench: Bench) -> None:
    good, buggy = Well("good"), Well("buggy")

    def bug(_: float) -> None:
        raise ZeroDivisionError("division by zero")

    buggy.fault = bug
    bench.port(post("buggy", buggy), post("good", good))
    seen = bench.until(got(10, "good"))
    told = next(p for p in seen if p.sensor == "buggy")
    assert (told.state, told.why) == ("error", "ZeroDivisionError: division by zero")
    buggy.fault = None
    bench.until(got(1, "buggy"))
    assert buggy.closed >= 1


def test_a_read_that_ignores_its_deadline_is_told_as_stuck(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.poll.STUCK_S", 0.0)
    device, release = Well("a"), threading.Event()

    def hang(_: float) -> None:
        release.wait(5)

    device.fault = hang
    worker = bench.port(post("a", device, timeout_s=0.05))
    end = time.monotonic() + 3
    while worker.stuck() is None and time.monotonic() < end:
        time.sleep(0.01)
    stuck = worker.stuck()
    assert stuck is not None
    assert stuck.sensor == "a"
    worker.stop()
    assert not worker.join(0.05)
    release.set()


def test_an_instruments_own_time_has_no_boot_clock(bench: Bench) -> None:
    bench.port(post("a", Well("a", instrument=1_700_000_000_000)))
    at = bench.until(got(1, "a"))[-1].at
    assert (at.mono_ns, at.wall_ms) == (None, 1_700_000_000_000)


def test_a_sleeper_is_woken_before_its_turn_and_nobody_hears_of_it(bench: Bench) -> None:
    device, asleep = Well("a"), [False]

    def rest(_: float) -> None:
        asleep[0] = not asleep[0]
        if not asleep[0]:
            raise Waking("woken for its sample", again_s=0.1)

    device.fault = rest
    bench.port(Post("a", device, 0.4, 0.5, lead_s=0.1))
    seen = bench.until(got(4, "a"))
    assert {polled.state for polled in seen} == {"ok"}
    first = device.asked_s[0]
    samples = device.asked_s[::2]
    assert all(abs((asked - first) / 0.4 - number) < 0.2 for number, asked in enumerate(samples[1:4], 1))


def test_one_that_warms_up_is_asked_again_when_it_is_warm(bench: Bench) -> None:
    device = Well("a")

    def warming(_: float) -> None:
        device.fault = None
        raise WarmingUp("0 s more", again_s=0.1)

    device.fault = warming
    bench.port(post("a", device, every_s=60))
    seen = bench.until(got(1, "a"))
    assert [polled.state for polled in seen] == ["warming_up", "ok"]
