"""A database URL in, an opened Database out: read and write transactions on SQLite or PostgreSQL, and its incarnation.

SQLite: WAL, synchronous FULL (2,000 simulated power cuts lost 0 rows, NORMAL lost rows in 65 % of them); one writer at a time,
which takes its lock at BEGIN, so that it never fails half-way. PostgreSQL: psycopg 3; a frozen writer loses its locks after 10 s.
"""

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError, TimeoutError

from readings.errors import Retry, Stop

Dialect = Literal["sqlite", "postgresql"]
BUSY_MS = 5000
"""How long a SQLite writer waits for another process."""


class DatabaseAway(Retry):
    """The database is locked, full, restarting or gone. Nothing of the transaction was stored."""


class Bell:
    """Rung after each commit that a follower of this process may wait for; other processes look once a second."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._rung = 0

    @property
    def rung(self) -> int:
        """How often so far: taken before looking, handed to `wait` after finding nothing, so that no ring is missed."""
        return self._rung

    def ring(self) -> None:
        with self._condition:
            self._rung += 1
            self._condition.notify_all()

    def wait(self, seen: int, timeout_s: float) -> int:
        """Returns at once when it rang since `seen`, else with the next ring or after the timeout."""
        with self._condition:
            self._condition.wait_for(lambda: self._rung != seen, timeout_s)
            return self._rung


class Database:
    """An opened database. Share one in a process; each transaction takes its own connection."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.dialect: Dialect = "sqlite" if engine.dialect.name == "sqlite" else "postgresql"
        self._writes = engine.execution_options(harmattan_write=True)
        self._writer = threading.Lock()
        self.bell = Bell()

    def sql(self, statement: str) -> str:
        """A statement for `exec_driver_sql`, written with `?` for each value."""
        return statement if self.dialect == "sqlite" else statement.replace("?", "%s")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction for reading. Raises DatabaseAway."""
        with _named(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction: committed at the end, rolled back on an error. Raises DatabaseAway."""
        if self.dialect == "postgresql":
            with _named(), self._writes.begin() as connection:
                yield connection
        else:
            # A queue at a lock of the process is fair and wakes at once; SQLite's own waiting sleeps and may starve.
            with self._writer, _named(), self._writes.begin() as connection:
                yield connection

    def incarnation(self, connection: Connection | None = None) -> str:
        """What changes whenever committed rows might have vanished: a restore, a failover, another file.

        PostgreSQL: a hash of (marker, system identifier, timeline, postmaster start, oid of `held`). SQLite: what `take` minted.
        """
        if connection is None:
            with self.read() as fresh:
                return self.incarnation(fresh)
        if self.dialect == "sqlite":
            return str(connection.execute(text("SELECT value FROM meta WHERE key = 'incarnation'")).scalar() or "none")
        known = connection.info.get("incarnation")
        if known is None:
            known = connection.info["incarnation"] = _postgresql_incarnation(connection)
        return str(known)

    def take(self) -> None:
        """A bridge takes the database: SQLite gets a new incarnation, since its file may be an older copy."""
        if self.dialect == "sqlite":
            with self.write() as connection:
                connection.execute(
                    text(
                        "INSERT INTO meta (key, value) VALUES ('incarnation', :minted)"
                        " ON CONFLICT (key) DO UPDATE SET value = excluded.value"
                    ),
                    {"minted": secrets.token_hex(8)},
                )

    def in_recovery(self, connection: Connection) -> bool:
        """A standby knows only what it was told so far: it must not answer a gateway."""
        return self.dialect == "postgresql" and bool(connection.execute(text("SELECT pg_is_in_recovery()")).scalar())

    def close(self) -> None:
        self.engine.dispose()


def open_database(url: str, *, create: bool = False, busy_ms: int = BUSY_MS) -> Database:
    """Opens `sqlite:///path` or `postgresql://...`; with `create`, makes or migrates the tables first.

    Raises Stop when there is no SQLite file and none may be made.
    """
    if create:
        from hub.database.migrate import migrate

        migrate(url)
    elif (path := sqlite_path(url)) and not path.exists():
        raise Stop(f"there is no file {path}", what="DATABASE_URL", hint="run: harmattan-hub migrate")
    return Database(make_engine(url, busy_ms=busy_ms))


def make_engine(url: str, *, busy_ms: int = BUSY_MS) -> Engine:
    """An Engine with this house's settings; `busy_ms` is how long SQLite waits for a lock. Nothing is connected yet."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = create_engine(parsed, connect_args={"timeout": busy_ms / 1000, "isolation_level": None})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    options = "-c idle_in_transaction_session_timeout=10s -c timezone=UTC"
    parsed = parsed.set(drivername="postgresql+psycopg")
    connect = {"options": options, "connect_timeout": 5, "application_name": "harmattan-hub"}
    return create_engine(parsed, pool_pre_ping=True, pool_timeout=10, connect_args=connect)


def sqlite_path(url: str) -> Path | None:
    """The file of a SQLite URL, None for PostgreSQL."""
    parsed = make_url(url)
    return Path(parsed.database or "") if parsed.get_backend_name() == "sqlite" else None


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA cache_size = -16384")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    write = connection.get_execution_options().get("harmattan_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _postgresql_incarnation(connection: Connection) -> str:
    parts = connection.execute(
        text(
            "SELECT (SELECT value FROM meta WHERE key = 'marker'),"
            " (SELECT system_identifier FROM pg_control_system()),"
            " substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8),"
            " pg_postmaster_start_time(), 'held'::regclass::oid::bigint"
        )
    ).one()
    return sha256(repr(tuple(str(part) for part in parts)).encode()).hexdigest()[:16]


@contextmanager
def _named() -> Iterator[None]:
    """Turns the driver's "not now" into DatabaseAway; mistakes of ours (a wrong column, a broken key) stay what they are."""
    try:
        yield
    except (OperationalError, InterfaceError, InternalError, TimeoutError) as error:
        raise DatabaseAway(_cause(error), what="database", hint="the hub tries again by itself") from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise DatabaseAway(_cause(error), what="database", hint="the hub tries again by itself") from error
        raise


def _cause(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
