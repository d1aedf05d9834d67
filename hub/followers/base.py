"""What followers of `ready` have in common: a step reads entries, then stores result and cursor in one transaction."""

from collections.abc import Sequence
from typing import Any, Protocol

from sqlalchemy import Connection, delete

from hub.database.engine import Database
from hub.database.tables import view_error
from hub.fleet.swaps import version
from hub.followers.reader import Entry, Reader
from hub.front import cursor


class Follower(Protocol):
    """`step` does a little work and says whether there was any; `lag`: entries not yet followed. Both raise DatabaseAway."""

    @property
    def name(self) -> str: ...
    def step(self) -> bool: ...
    def lag(self) -> int: ...


class View(Protocol):
    """log -> one table. `prepare`: pure work outside the transaction; `store` writes; `wipe` deletes a little, False = empty."""

    name: str

    def prepare(self, entries: Sequence[Entry]) -> Any: ...
    def store(self, connection: Connection, prepared: Any) -> None: ...
    def wipe(self, connection: Connection) -> bool: ...


class TableFollower:
    """Follows `ready` into a View of the database. A marked cursor makes it wipe its result and begin again."""

    def __init__(self, database: Database, reader: Reader, view: View) -> None:
        self._database = database
        self._reader = reader
        self._view = view
        self.name = view.name

    def step(self) -> bool:
        """One transaction, about 20 ms on SQLite, so that the front's writer is not starved."""
        with self._database.read() as connection:
            position = cursor.position(connection, self.name)
            entries = self._reader.after(connection, position) if position != cursor.MARKED else []
            swaps = self._reader.lines(connection).version
        if position == cursor.MARKED:
            return self._wipe()
        if not entries:
            return False
        prepared = self._view.prepare(entries)
        with self._database.write() as connection:
            # A swap that was told meanwhile took its samples along, under this cursor's lock: these rows are read anew.
            if cursor.claim(connection, self.name) == position and version(connection) == swaps:
                self._view.store(connection, prepared)
                cursor.move(connection, self.name, entries[-1].id)
        return True

    def lag(self) -> int:
        with self._database.read() as connection:
            return cursor.newest_ready(connection) - max(0, cursor.position(connection, self.name))

    def _wipe(self) -> bool:
        with self._database.write() as connection:
            if cursor.claim(connection, self.name) == cursor.MARKED and not self._view.wipe(connection):
                connection.execute(delete(view_error).where(view_error.c.follower == self.name))
                cursor.move(connection, self.name, 0)
        return True
