"""Sensors in, one Polled for each answer or failure out. One thread per port, so that a bad sensor never delays another port's.

Due times lie on the grid start + k * every of the monotonic clock and never drift; slots that were missed are skipped. A sensor
that fails is asked again after 1 s, doubling; on a shared line only while no healthy neighbour is due.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct

from readings.errors import Trouble, Wait
from readings.sample import Moment, Sample, Schema

log = logging.getLogger("edge.poll")

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
SHARED_PAUSE_S = 15.0
"""A silent sensor on a shared line is asked at least this often; its neighbours wait at most its deadline then."""
REOPEN_PAUSE_S = 5.0
"""Looking whether a port is back costs nobody anything."""
AT_THE_PORT = ("unplugged", "no_permission", "busy", "refused")
TRIES_BEFORE_REOPEN = 3
STUCK_S = 30.0


class Answer(Protocol):
    """What a sensor gives: adapters.sensor.Answer."""

    @property
    def values(self) -> tuple[int | None, ...]: ...
    @property
    def flags(self) -> tuple[int, ...]: ...
    @property
    def arrived_mono_ns(self) -> int: ...
    @property
    def instrument_time_ms(self) -> int | None: ...
    @property
    def counted(self) -> dict[str, int]: ...


class Sensor(Protocol):
    """adapters.sensor.Sensor: `sample` blocks for at most about its deadline. Used in its port's thread only."""

    @property
    def schema(self) -> Schema: ...
    def open(self) -> None: ...
    def close(self) -> None: ...
    def sample(self, deadline_s: float) -> Answer: ...


class Times(Protocol):
    """edge.health.Clock."""

    def moment(self) -> Moment: ...
    def moment_at(self, boottime_ns: int) -> Moment: ...


class Polled(Struct, frozen=True):
    """One answer (state ok, with its sample and schema) or one failure. `counted`: frames dropped on the way, by their fault."""

    sensor: str
    state: str
    at: Moment
    sample: Sample | None = None
    schema: Schema | None = None
    why: str = ""
    hint: str = ""
    counted: dict[str, int] = {}


Judge = Callable[[Schema, Sample], Sample]


def _as_it_is(_: Schema, sample: Sample) -> Sample:
    return sample


class Post(Struct):
    """One sensor's place at its port. `timeout_s`: how long its answer may take; `judge`: adds the quality hints.

    `lead_s`: asked so long before its turn, because it has to be woken first.
    """

    id: str
    sensor: Sensor
    every_s: float
    timeout_s: float
    judge: Judge = _as_it_is
    lead_s: float = 0.0
    due_s: float = 0.0
    slot: int = 0
    failures: int = 0
    opened: bool = False
    reopen: bool = False
    state: str = "starting"


class Stuck(Struct, frozen=True):
    """A port whose thread has not come back from a sensor in time."""

    sensor: str
    for_s: float


class PortWorker:
    """The thread of one port. `post` takes what comes, from this thread; it must not block."""

    def __init__(self, port: str, posts: Sequence[Post], *, post: Callable[[Polled], None], clock: Times) -> None:
        self.port = port
        self._posts = list(posts)
        self._post = post
        self._clock = clock
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"port {port}", daemon=True)
        self._start_s = 0.0
        self._busy: tuple[Post, float] | None = None

    def start(self) -> None:
        self._start_s = time.monotonic()
        for post in self._posts:
            post.due_s = self._start_s
        self._thread.start()

    def stop(self) -> None:
        """Asks the thread to end; `join` waits for it."""
        self._stopping.set()

    def join(self, timeout_s: float) -> bool:
        """Whether it has ended. A thread that hangs in a driver is left behind."""
        self._thread.join(max(0.0, timeout_s))
        return not self._thread.is_alive()

    def stuck(self) -> Stuck | None:
        """A read that ignores its deadline cannot be ended from outside; it can be told."""
        if (busy := self._busy) is None:
            return None
        post, since_s = busy
        for_s = time.monotonic() - since_s
        return Stuck(post.id, for_s) if for_s > post.timeout_s + STUCK_S else None

    def _run(self) -> None:
        while not self._stopping.is_set():
            post, wait_s = self._next(time.monotonic())
            if wait_s > 0:
                self._stopping.wait(wait_s)
                continue
            try:
                self._poll(post)
            except Exception as error:  # the thread's outermost loop: one adapter's bug is not its neighbours'
                log.exception("sensor crashed sensor=%s port=%s", post.id, self.port)
                self._failed(post, "error", f"{type(error).__name__}: {error}", "report this with the daemon's log")
                post.reopen = True
        for post in self._posts:
            self._close(post)

    def _next(self, now_s: float) -> tuple[Post, float]:
        """Whose turn it is, and how long until then. A failing sensor gives way to healthy ones that are due during its try."""
        healthy = min((p for p in self._posts if not p.failures), key=_due, default=None)
        failing = min((p for p in self._posts if p.failures), key=_due, default=None)
        if failing is None or (healthy is not None and healthy.due_s <= now_s):
            assert healthy is not None  # noqa: S101  a port has at least one sensor
            return healthy, healthy.due_s - now_s
        if healthy is None:
            return failing, failing.due_s - now_s
        overdue_s = now_s - failing.due_s
        if overdue_s < 0:
            return min(healthy, failing, key=_due), min(healthy.due_s, failing.due_s) - now_s
        if healthy.due_s - now_s >= self._deadline_s(failing) or overdue_s >= SHARED_PAUSE_S:
            return failing, 0.0
        return healthy, healthy.due_s - now_s

    def _deadline_s(self, post: Post) -> float:
        """Half of a neighbour's interval at most, so that the neighbour is late but loses no slot."""
        others = [p.every_s for p in self._posts if p is not post]
        return min(post.timeout_s, min(others) / 2) if others else post.timeout_s

    def _poll(self, post: Post) -> None:
        self._busy = (post, time.monotonic())
        try:
            if post.reopen:
                self._close(post)
            if not post.opened:
                post.sensor.open()
                post.opened = True
            answer = post.sensor.sample(self._deadline_s(post))
        except Wait as wait:
            if state := getattr(wait, "state", "no_data"):  # without one, nothing has changed
                self._tell(post, state, wait.why, wait.hint)
            again_s = getattr(wait, "again_s", None)
            if again_s is None:
                self._on_grid(post)
            else:
                post.failures, post.due_s = 0, time.monotonic() + again_s
            return
        except Trouble as trouble:
            self._failed(post, getattr(trouble, "state", "error"), trouble.why, trouble.hint)
            if (
                post.state != "garbage"
                and not getattr(trouble, "keep_open", False)
                and (post.state != "no_answer" or post.failures % TRIES_BEFORE_REOPEN == 0)
            ):
                self._close(post)
            return
        finally:
            self._busy = None
        self._answered(post, answer)

    def _answered(self, post: Post, answer: Answer) -> None:
        at = self._clock.moment_at(answer.arrived_mono_ns)
        if answer.instrument_time_ms is not None:
            at = Moment(at.boot, None, answer.instrument_time_ms, at.clock)
        schema = post.sensor.schema
        sample = post.judge(schema, Sample(post.id, at, answer.values, answer.flags))
        post.failures, post.state = 0, "ok"
        self._post(Polled(post.id, "ok", at, sample, schema, counted=answer.counted))
        self._on_grid(post)

    def _failed(self, post: Post, state: str, why: str, hint: str) -> None:
        pause_s = min(FIRST_PAUSE_S, post.every_s) * 2.0 ** min(post.failures, 10)
        post.failures += 1
        if state in AT_THE_PORT:
            longest_s = REOPEN_PAUSE_S
        elif len(self._posts) > 1:
            longest_s = SHARED_PAUSE_S
        else:
            longest_s = min(max(post.every_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)
        post.due_s = time.monotonic() + min(pause_s, longest_s)
        self._tell(post, state, why, hint)

    def _tell(self, post: Post, state: str, why: str, hint: str) -> None:
        post.state = state
        self._post(Polled(post.id, state, self._clock.moment(), why=why, hint=hint))

    def _on_grid(self, post: Post) -> None:
        """The next due time: the first of the grid that lies ahead."""
        post.failures = 0
        post.slot = max(post.slot + 1, int((time.monotonic() - self._start_s) / post.every_s) + 1)
        post.due_s = self._start_s + post.slot * post.every_s - post.lead_s

    def _close(self, post: Post) -> None:
        post.opened = post.reopen = False
        try:
            post.sensor.close()
        except Trouble as trouble:
            log.warning("sensor not closed sensor=%s why=%r", post.id, trouble.why)


def _due(post: Post) -> float:
    return post.due_s
