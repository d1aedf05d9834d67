"""A body of POST /ingest and who sent it in; each row's verdict out, given after the commit of all that are new."""

from collections import Counter
from collections.abc import Sequence
from time import time_ns
from typing import Literal

from msgspec import Struct

from hub import problems
from hub.auth.tokens import Caller, NetworkRole
from hub.context import Condition
from hub.database.engine import Database
from hub.front.json_rows import Posted
from hub.front.posts import Posts
from hub.ingestion.refusals import Refused
from hub.ingestion.rejects import Turned, keep
from hub.ingestion.rows import Checked, check, named, split
from hub.ingestion.sensors import Sensors
from hub.ingestion.steps import posted
from hub.problems import Problem, invalid

ROUTE = "/ingest"
MOST_ROWS = 10_000
NO_COUNTS = {"stored": 0, "duplicate": 0, "revised": 0, "refused": 0}


class Result(Struct, frozen=True):
    """One row's verdict; `row` counts from 0. `reason` and `code` say why one was refused."""

    row: int
    verdict: Literal["stored", "duplicate", "revised", "refused"]
    reason: str | None = None
    code: str | None = None


class Verdicts(Struct, frozen=True):
    """Every row of a post, in its order, and how many there are of each verdict."""

    results: list[Result]
    counts: dict[str, int]


class Intake:
    """The door. One for the application; any number of threads."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._posts = Posts(database)
        self._counted: Counter[str] = Counter(NO_COUNTS)

    def take(self, caller: Caller, body: bytes, now_ms: int | None = None) -> Verdicts:
        """Raises Problem for a body that is no list of rows, DatabaseAway: then nothing was stored."""
        now_ms = time_ns() // 1_000_000 if now_ms is None else now_ms
        raws = split(body)
        if raws is None:
            why = 'it is no JSON list of rows like {"sensor": .., "time": .., "values": {..}, "units": {..}}'
            raise invalid("body", why, where="body")
        if len(raws) > MOST_ROWS:
            raise Problem(problems.TOO_LARGE, f"a post has at most {MOST_ROWS} rows; this one has {len(raws)}")
        refused: dict[int, Refused] = {}
        checked: list[tuple[int, Checked]] = []
        with self.database.read() as connection:
            sensors = Sensors(connection, caller)
            for at, raw in enumerate(raws):
                try:
                    checked.append((at, check(raw, now_ms, sensors.find)))
                except Refused as error:
                    refused[at] = error
            turned = [
                Turned(network, gateway, ROUTE, named(raws[at]), error.code, error.why, raws[at])
                for at, error in refused.items()
                for network, gateway in _homes(sensors, caller, raws[at])
            ]
        verdicts = self.store(posted([row for _, row in checked], sensors.schemas), turned, now_ms)
        told = {at: Result(at, verdict) for (at, _), verdict in zip(checked, verdicts, strict=True)}
        told |= {at: Result(at, "refused", error.why, error.code) for at, error in refused.items()}
        self._counted["refused"] += len(refused) - len(turned)
        return summed([told[at] for at in range(len(raws))])

    def store(
        self, rows: Sequence[Posted], turned: Sequence[Turned], now_ms: int
    ) -> list[Literal["stored", "duplicate", "revised"]]:
        """Stores what is new, and keeps what was refused. Raises DatabaseAway."""
        verdicts = self._posts.store(rows, now_ms)
        if turned:
            with self.database.write() as connection:
                keep(connection, turned, now_ms)
        self._counted.update(verdicts)
        self._counted["refused"] += len(turned)
        return verdicts

    def refuse(self, caller: Caller, route: str, error: Refused, body: bytes, now_ms: int) -> None:
        """Keeps a device's body that was not taken. Raises DatabaseAway."""
        with self.database.read() as connection:
            home = Sensors(connection, caller).home(None)
        if home is not None:
            self.store([], [Turned(home.network, home.id, route, None, error.code, error.why, body)], now_ms)

    def condition(self) -> Condition:
        """For /metrics: rows of HTTP by their verdict, since this process began."""
        return Condition(True, facts=dict(self._counted))


def summed(results: list[Result]) -> Verdicts:
    return Verdicts(results, NO_COUNTS | Counter(result.verdict for result in results))


def _homes(sensors: Sensors, caller: Caller, raw: bytes) -> list[tuple[int, int | None]]:
    """Whose list a refused row goes to, with its gateway: of the gateway that it named; else of the caller's own network.

    Nobody's row gets into a network in which the sender may not post.
    """
    said = named(raw)
    called = said.partition("/")[0] if said is not None and "/" in said else None
    home = sensors.home(called) or (sensors.home(None) if caller.gateway is not None else None)
    if home is not None:
        return [(home.network, home.id)]
    mine = [network for network, role in (caller.networks or {}).items() if role is not NetworkRole.VIEWER]
    return [(mine[0], None)] if len(mine) == 1 else []
