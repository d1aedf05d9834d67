"""`held` in, one copy of it a day of running; of the copies the one that every backup still has: what a gateway may delete.

Rules and reasons: hub/front/ledger.py. `meta` lists the copies and the backups; a copy's rows stand in `held_copy`.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from hub.database.engine import Database
from hub.front import ledger
from hub.front.ledger import Copy
from readings.ranges import Ranges

log = logging.getLogger(__name__)

COPIES, BACKUPS = "copies", "backups"
"""Keys of `meta`: [[n, made_ms], ...], and the times [Unix ms] at which backups were begun."""
COPY_LOCK = 0x4861726D_0003
NOTED = 1000
"""So many backups are remembered, the newest."""


class Copies:
    """`make` when it is time, `safe` for each answer. Both raise DatabaseAway."""

    def __init__(self, database: Database, max_age_s: int) -> None:
        self._database = database
        self._max_age_ms = max_age_s * 1000

    def make(self, now: Callable[[], int]) -> bool:
        """Copies what is held, if the last copy is a day old; forgets copies that no answer will ever use."""
        with self._database.write_cursor() as cursor:
            if self._database.dialect == "postgresql":
                cursor.execute(f"SELECT pg_advisory_xact_lock({COPY_LOCK})")
            copies, backups = self._listed(cursor)
            copies = ledger.dated(copies, now())
            if not ledger.copy_due(copies, now()):
                return False
            n = 1 + max((copy.n for copy in copies), default=0)
            cursor.execute(self._database.sql("DELETE FROM held_copy WHERE n >= ?"), (n,))
            rows = self._copy(cursor, n, now())
            # Dated after it was read: it may hold what a backup begun a moment ago does not.
            copies = [*copies, Copy(n, now())]
            safe = ledger.safe_copy(copies, now(), max_age_ms=self._max_age_ms, backups=backups)
            kept = [copy for copy in copies if safe is None or copy.n >= safe.n]
            cursor.execute(self._database.sql("DELETE FROM held_copy WHERE n < ?"), (kept[0].n,))
            put(self._database, cursor, COPIES, kept)
        log.info("front: copied held n=%d streams=%d safe=%s", n, rows, safe.n if safe else "none")
        return True

    def safe(self, cursor: Any, gateway: int, streams: Iterable[str], now_ms: int) -> dict[str, Ranges]:
        """Of these streams the numbers that every backup has which may still be restored."""
        copies, backups = self._listed(cursor)
        copy = ledger.safe_copy(copies, now_ms, max_age_ms=self._max_age_ms, backups=backups)
        if copy is None:
            return {}
        ask = self._database.sql("SELECT ranges FROM held_copy WHERE n = ? AND gateway = ? AND stream = ?")
        found = {}
        for stream in streams:
            cursor.execute(ask, (copy.n, gateway, stream))
            if row := cursor.fetchone():
                found[stream] = Ranges(msgspec.json.decode(row[0]))
        return found

    def _copy(self, cursor: Any, n: int, now_ms: int) -> int:
        into = "INSERT INTO held_copy (n, gateway, stream, made_ms, ranges)"
        plain = "FROM held WHERE gone = '[]' AND ranges <> '[]'"
        cursor.execute(f"{into} SELECT {n}, gateway, stream, {now_ms}, ranges {plain}")  # only numbers are put in
        rows = int(cursor.rowcount)
        cursor.execute("SELECT gateway, stream, ranges, gone FROM held WHERE gone <> '[]'")
        mixed = [
            (n, gateway, stream, now_ms, _text(Ranges(msgspec.json.decode(held)) | Ranges(msgspec.json.decode(gone))))
            for gateway, stream, held, gone in cursor.fetchall()
        ]
        if mixed:
            cursor.executemany(self._database.sql(f"{into} VALUES (?, ?, ?, ?, ?)"), mixed)
        return rows + len(mixed)

    def _listed(self, cursor: Any) -> tuple[list[Copy], list[int]]:
        found = got(cursor, COPIES, BACKUPS)
        copies = msgspec.json.decode(found.get(COPIES, "[]"), type=list[Copy])
        return copies, msgspec.json.decode(found.get(BACKUPS, "[]"), type=list[int])


def note_backup(database: Database, at_ms: int) -> None:
    """Written before a backup is begun: from now on no younger copy is safe until the backup is too old to be restored."""
    with database.write_cursor() as cursor:
        if database.dialect == "postgresql":
            cursor.execute(f"SELECT pg_advisory_xact_lock({COPY_LOCK})")
        noted = msgspec.json.decode(got(cursor, BACKUPS).get(BACKUPS, "[]"), type=list[int])
        put(database, cursor, BACKUPS, sorted({*noted, at_ms})[-NOTED:])


def got(cursor: Any, *keys: str) -> dict[str, str]:
    """Entries of `meta` with these keys, which are words of this program."""
    named = ", ".join(f"'{key}'" for key in keys)
    cursor.execute(f"SELECT key, value FROM meta WHERE key IN ({named})")  # noqa: S608  # no input in it
    return dict(cursor.fetchall())


def put(database: Database, cursor: Any, key: str, value: Any) -> None:
    """An entry of `meta` as JSON, in the caller's transaction."""
    statement = "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
    cursor.execute(database.sql(statement), (key, msgspec.json.encode(value).decode()))


def _text(numbers: Ranges) -> str:
    return msgspec.json.encode(numbers.pairs).decode()
