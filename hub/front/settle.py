"""batch -> ready: each row's sensor, schema and time resolved by log order alone. Also sensor, station, schema, event, gone.

Here are its steps: how much at a time, what becomes of poison, dead letters tried again. One step's work: hub/front/settling.py.
"""

import logging
from collections.abc import Sequence

from sqlalchemy import delete, insert, select
from sqlalchemy.exc import DataError, IntegrityError

from hub.database.engine import Database, DatabaseAway
from hub.database.tables import meta
from hub.front import cursor, json_rows
from hub.front.decoded import COLUMNS, Batch, Decoded, load_batches
from hub.front.settling import DEAD, Known, Settling

log = logging.getLogger(__name__)

FOLLOWER = "settle"
VERSION = 1
"""A settle, or a Decoded, that can read more than the one before takes the next number: then it tries all dead letters again."""
AGAIN = "settle again"
"""The cursor of that, and the key of `meta` that says which version has done it."""
BATCHES = 64
ROWS = 8_000
"""One transaction settles at most so many batches, and no further batch after so many rows; the pace of the other followers."""
_POISON = (DataError, IntegrityError, ValueError, TypeError, OverflowError, AttributeError, KeyError)


class Settle:
    """One step settles a few batches, in one transaction with its cursor."""

    name = FOLLOWER

    def __init__(self, database: Database, decoded: Decoded, *, version: int = VERSION) -> None:
        self._database = database
        self._decoded = decoded
        self._known = Known()
        self._version = version
        self._tried_again = False

    def step(self) -> bool:
        """Whether there was anything to settle. Raises DatabaseAway."""
        if not self._tried_again and self._try_again():
            return True
        with self._database.read() as connection:
            position = cursor.position(connection, FOLLOWER)
            ask = self._database.sql(f"SELECT {COLUMNS} FROM batch b WHERE b.id > ? ORDER BY b.id LIMIT {BATCHES}")  # noqa: S608
            batches = _up_to_rows(load_batches(connection, ask, (position,)))
        for batch in batches:
            self._decoded.blocks(batch)  # outside the transaction, so that the front's writer does not wait for it
        if not batches:
            return False
        try:
            self._settle(batches, position)
        except DatabaseAway:
            raise
        except _POISON:
            self._one_by_one(batches, position)
        self._database.bell.ring()
        return True

    def lag(self) -> int:
        """Batches that are not settled yet."""
        with self._database.read() as connection:
            return cursor.newest_batch(connection) - cursor.position(connection, FOLLOWER)

    def _try_again(self) -> bool:
        """One batch of the dead letters that an earlier version left; whether there was one."""
        with self._database.read() as connection:
            done = connection.execute(select(meta.c.value).where(meta.c.key == AGAIN)).scalar()
            at = cursor.position(connection, AGAIN)
            ask = f"SELECT min(batch) FROM waiting WHERE batch > ? AND why LIKE '{DEAD}%'"  # noqa: S608
            ask = ask if self._database.dialect == "sqlite" else ask.replace("%'", "%%'")
            found = connection.exec_driver_sql(self._database.sql(ask), (at,)).scalar()
        if (done is not None and int(done) >= self._version) or found is None:
            self._tried_again = True
            if done is None or int(done) < self._version:
                with self._database.write() as connection:
                    cursor.claim(connection, AGAIN)
                    cursor.move(connection, AGAIN, 0)
                    connection.execute(delete(meta).where(meta.c.key == AGAIN))
                    connection.execute(insert(meta).values(key=AGAIN, value=str(self._version)))
            return False
        try:
            self._revive(int(found), at)
        except _POISON:
            log.exception("settle: batch=%d stays a dead letter", found)
            with self._database.write() as connection:
                cursor.claim(connection, AGAIN)
                cursor.move(connection, AGAIN, int(found))
        self._database.bell.ring()
        return True

    def _revive(self, batch_id: int, position: int) -> None:
        """Settles the dead letters of a batch as if they came now."""
        ask = self._database.sql(f"SELECT {COLUMNS} FROM batch b WHERE b.id = ?")  # noqa: S608
        try:
            with self._database.write() as connection:
                cursor.claim(connection, FOLLOWER)
                if cursor.claim(connection, AGAIN) == position:
                    settling = Settling(self._database, connection, self._decoded, self._known)
                    settling.again(load_batches(connection, ask, (batch_id,))[0])
                    settling.finish()
                    cursor.move(connection, AGAIN, batch_id)
                    self._database.tell(connection.connection.cursor())
        except BaseException:
            self._known = Known()
            raise

    def _settle(self, batches: Sequence[Batch], position: int) -> None:
        try:
            with self._database.write() as connection:
                if cursor.claim(connection, FOLLOWER) != position:
                    self._known = Known()  # another process settles as well, and knows more
                    return
                settling = Settling(self._database, connection, self._decoded, self._known)
                for batch in batches:
                    settling.batch(batch)
                settling.finish()
                cursor.move(connection, FOLLOWER, batches[-1].id)
                self._database.tell(connection.connection.cursor())
        except BaseException:
            self._known = Known()  # ids that were drawn in vain
            raise

    def _one_by_one(self, batches: Sequence[Batch], position: int) -> None:
        """One of these is poison: it becomes a dead letter, the others are settled."""
        for batch in batches:
            try:
                self._settle([batch], position)
            except DatabaseAway:
                raise
            except _POISON as error:
                log.exception("settle: batch=%d is a dead letter", batch.id)
                self._bury(batch, position, f"{type(error).__name__} while settling")
            position = batch.id

    def _bury(self, batch: Batch, position: int, why: str) -> None:
        with self._database.write() as connection:
            if cursor.claim(connection, FOLLOWER) != position:
                return
            settling = Settling(self._database, connection, self._decoded, self._known)
            settling.wait(batch, batch.taken(), DEAD + why)
            settling.finish()
            cursor.move(connection, FOLLOWER, batch.id)


def _up_to_rows(batches: Sequence[Batch]) -> list[Batch]:
    taken: list[Batch] = []
    rows = 0
    for batch in batches:
        if rows >= ROWS:
            break
        taken.append(batch)
        rows += batch.n or json_rows.ROWS
    return taken
