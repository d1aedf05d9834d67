"""The followers of a process, turn by turn in one thread; and `rebuild`, which makes one of them begin again."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from hub.database.engine import Database, DatabaseAway
from hub.followers.base import Follower, TableFollower
from hub.followers.latest import LatestView
from hub.followers.outlet import MqttOutlet
from hub.followers.reader import Reader
from hub.followers.samples import Samples
from hub.followers.telemetry import Outlet, Telemetry
from hub.front import cursor
from hub.front.decoded import Decoded
from hub.front.posts import reindex
from hub.front.settle import Settle
from hub.settings import Settings
from readings.errors import Stop, Trouble

log = logging.getLogger(__name__)

NAMES = ("samples", "latest", "telemetry")
"""What `rebuild` takes: every follower but settle, whose result is the log that the others read."""
INDEX = "json_rows"
"""No follower, and made anew like one: which rows of HTTP the log has."""
LOOK_S = 1.0
LONGEST_PAUSE_S = 5.0
Progress = Callable[[int, int], None]
"""(entries followed, entries in the log)."""


class Followers:
    """settle, then those that follow it. `outlet`: where telemetry goes; None = the broker of the settings."""

    def __init__(self, database: Database, settings: Settings, outlet: Outlet | None = None) -> None:
        self._database = database
        self._own = MqttOutlet(settings) if outlet is None else None
        decoded = Decoded()
        reader = Reader(database, decoded)
        self.followers: list[Follower] = [
            Settle(database, decoded),
            TableFollower(database, reader, Samples(database)),
            TableFollower(database, reader, LatestView(database)),
            Telemetry(database, reader, outlet or self._own),  # type: ignore[arg-type]  # one of the two is there
        ]
        self._why: dict[str, str] = {}

    def run(self, stop: threading.Event) -> None:
        """Until `stop` is set. A follower that fails is tried again with a growing pause; the others go on."""
        due: dict[str, float] = {}
        pauses: dict[str, float] = {}
        while not stop.is_set():
            seen = self._database.bell.rung
            if self._own is not None:
                self._own.look()
            busy = False
            for follower in self.followers:
                if time.monotonic() < due.get(follower.name, 0.0):
                    continue
                done = self._step(follower)
                if done is None:
                    pauses[follower.name] = min(LONGEST_PAUSE_S, 2 * pauses.get(follower.name, 0.05))
                    due[follower.name] = time.monotonic() + pauses[follower.name]
                else:
                    pauses.pop(follower.name, None)
                    busy = busy or done
            if not busy:
                self._database.bell.wait(seen, LOOK_S)
        if self._own is not None:
            self._own.stop()

    def catch_up(self) -> None:
        """Until nothing is left to follow (telemetry as far as its connection goes). Raises what a step raises."""
        while any(follower.step() for follower in self.followers):
            pass

    def state(self) -> dict[str, Any]:
        """For /ready: `ok`, `why`, and each follower's lag [entries]."""
        try:
            lags: dict[str, Any] = {follower.name: follower.lag() for follower in self.followers}
        except DatabaseAway as error:
            return {"ok": False, "why": f"database: {error.why}", "lag": {}}
        why = [f"{name}: {said}" for name, said in sorted(self._why.items())]
        if self._own is not None and self._own.why:
            why.append(f"telemetry: broker: {self._own.why}")
        return {"ok": not why, "why": "; ".join(why), "lag": lags}

    def _step(self, follower: Follower) -> bool | None:
        """Whether it had anything to do; None when it failed."""
        try:
            done = follower.step()
        except Trouble as error:
            said = error.why
            log.warning("follower=%s waits why=%r", follower.name, said)
        except Exception as error:  # outermost loop: the other followers must go on
            said = f"{type(error).__name__}: {error}"
            log.exception("follower=%s failed", follower.name)
        else:
            self._why.pop(follower.name, None)
            return done
        self._why[follower.name] = said.partition("\n")[0]
        return None


def mark(database: Database, name: str) -> None:
    """Asks the follower of this name to wipe its result and begin again. Raises Stop for one that cannot."""
    if name not in NAMES:
        hint = f"rebuild one of: {', '.join(NAMES)}"
        raise Stop(f"there is no follower '{name}' that can be rebuilt", what="rebuild", hint=hint)
    with database.write() as connection:
        cursor.claim(connection, name)
        cursor.move(connection, name, cursor.MARKED)


def rebuild(database: Database, name: str, progress: Progress | None = None, *, pickup_s: float = 0.0) -> int:
    """Wipes a follower's result and cursor and replays the log; returns how many entries that were.

    `pickup_s`: how long to wait for a running hub to take it up; none does: the work is done here and now. Should both work, they
    take turns by the cursor. Raises Stop, DatabaseAway.
    """
    if name == INDEX:
        return reindex(database)
    mark(database, name)
    if name == Telemetry.name:
        return 0  # it has no result of its own: a hub publishes all sensors anew, now or when it starts
    tell = progress or (lambda at, end: None)
    deadline = time.monotonic() + pickup_s
    while time.monotonic() < deadline:
        if _at(database, name)[0] != cursor.MARKED:
            return watch(database, name, tell)
        time.sleep(0.05)
    reader = Reader(database, Decoded())
    follower = TableFollower(database, reader, Samples(database) if name == Samples.name else LatestView(database))
    while follower.step():
        at, end = _at(database, name)
        tell(max(0, at), end)
    return _at(database, name)[1]


def watch(database: Database, name: str, progress: Progress, *, every_s: float = 0.5) -> int:
    """Reports how far a marked follower of another process is, until it has caught up; returns how many entries that were."""
    while True:
        at, end = _at(database, name)
        progress(max(0, at), end)
        if at >= end:
            return end
        time.sleep(every_s)


def _at(database: Database, name: str) -> tuple[int, int]:
    """(a follower's position, the log's end)."""
    with database.read() as connection:
        return cursor.position(connection, name), cursor.newest_ready(connection)
