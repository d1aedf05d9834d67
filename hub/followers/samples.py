"""ready -> samples: each sample becomes one row of the store, judged by the hub. Wiped and replayed at will."""

import logging
from collections.abc import Sequence

from sqlalchemy import Connection

from hub.database.engine import Database
from hub.followers.reader import Entry, rows_of
from hub.store.sql import SampleStore, Stored

log = logging.getLogger(__name__)

WIPE_ROWS = 5_000
Refusal = tuple[int, int, str]
"""(ready id, row number, why)."""
Prepared = list[tuple[int, list[Stored], list[Refusal]]]
"""For each entry: when it was received [Unix ms], its rows, and those that cannot be stored."""


class Samples:
    """The View of table `sample`."""

    name = "samples"

    def __init__(self, database: Database) -> None:
        self._store = SampleStore(database)
        self._sql = database.sql

    def prepare(self, entries: Sequence[Entry]) -> Prepared:
        return [(entry.batch.received_ms, *_rows(entry)) for entry in entries]

    def store(self, connection: Connection, prepared: Prepared) -> None:
        statement = self._sql("INSERT INTO view_error (follower, ready, row, why) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING")
        for received_ms, rows, refusals in prepared:
            self._store.put(connection, rows, received_ms)
            if refusals:
                log.warning("samples: ready=%d rows=%d cannot be stored; see table view_error", refusals[0][0], len(refusals))
                connection.exec_driver_sql(statement, [(self.name, *refusal) for refusal in refusals])

    def wipe(self, connection: Connection) -> bool:
        return self._store.delete(connection, WIPE_ROWS)


def _rows(entry: Entry) -> tuple[list[Stored], list[Refusal]]:
    """The rows, or where arithmetic refuses one (a number of 10,000 digits), all others."""
    try:
        return entry.samples(), []
    except (ValueError, OverflowError):
        rows: list[Stored] = []
        refusals: list[Refusal] = []
        for known, block in entry.sample_blocks():
            for place, seq in enumerate(block.seqs):
                try:
                    rows += rows_of(known, block, entry, only=place)
                except (ValueError, OverflowError) as error:
                    refusals.append((entry.id, seq, str(error)))
        return rows, refusals
