"""A database URL in, an opened Database out: read and write transactions on SQLite or PostgreSQL, and its incarnation.

SQLite: WAL, synchronous FULL (2,000 simulated power cuts lost 0 rows, NORMAL lost rows in 65 % of them); one writer at a time,
which takes its lock at BEGIN, so that it never fails half-way. PostgreSQL: psycopg 3; a frozen writer loses its locks after 10 s,
wherever in its transaction it froze.
"""

import logging
import secrets
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError, TimeoutError

from readings.errors import Retry, Stop

log = logging.getLogger(__name__)

Dialect = Literal["sqlite", "postgresql"]
_INCARNATION = (
    "SELECT (SELECT value FROM meta WHERE key = 'marker'), (SELECT system_identifier FROM pg_control_system()),"
    " substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8), pg_postmaster_start_time(), 'held'::regclass::oid::bigint"
)
_CHANNEL = "harmattan_log"
HINT = "the hub tries again by itself"
BUSY_MS = 5000
"""How long a SQLite writer waits for another process."""
WAIT_S = 20
"""How long a writer waits for another one: for its turn in this process (SQLite), for any lock (PostgreSQL). Then it is away."""
FROZEN_S = 10
"""So long PostgreSQL waits for a client that is silent in a transaction, before it rolls back and frees the locks."""
GONE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 25_000}
"""After 25 s without a sign of life from the server's machine a connection ends. Linux alone waits two hours."""


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
        # SQLite has one writer at a time. A queue at a lock of the process wakes at once; its own waiting sleeps and may starve.
        self._turn: AbstractContextManager[Any] = _Turn() if self.dialect == "sqlite" else nullcontext()
        self._away, self.lock_refused = _driver_errors(self.dialect)
        self._minted: str | None = None
        self._taken: tuple[int, int] | None = None
        self.bell = Bell()

    def sql(self, statement: str) -> str:
        """A statement for `exec_driver_sql`, written with `?` for each value."""
        return statement if self.dialect == "sqlite" else statement.replace("?", "%s")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction for reading. Raises DatabaseAway."""
        with _named(self._away), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction: committed at the end, rolled back on an error. Raises DatabaseAway."""
        with self._turn, _named(self._away), self._writes.begin() as connection:
            yield connection

    @contextmanager
    def read_cursor(self) -> Iterator[Any]:
        """`read` with a cursor of the driver itself: 3 us a statement where SQLAlchemy takes 40."""
        with _named(self._away):
            raw = self.engine.raw_connection()
            try:
                cursor = raw.cursor()
                if self.dialect == "sqlite":
                    cursor.execute("BEGIN")
                yield cursor
            finally:
                raw.close()  # the pool rolls back

    @contextmanager
    def write_cursor(self) -> Iterator[Any]:
        """`write` with a cursor of the driver itself."""
        with self._turn, _named(self._away):
            raw = self.engine.raw_connection()
            try:
                cursor = raw.cursor()
                if self.dialect == "sqlite":
                    cursor.execute("BEGIN IMMEDIATE")
                yield cursor
                raw.commit()
            finally:
                raw.close()

    def incarnation(self, cursor: Any = None) -> str:
        """What changes whenever committed rows might have vanished: a restore, a failover, another file.

        PostgreSQL: a hash of (marker, system identifier, timeline, postmaster start, oid of `held`). SQLite: what `take` minted.
        """
        if cursor is None:
            with self.read_cursor() as fresh:
                return self.incarnation(fresh)
        if self._minted is not None:
            return self._minted
        if self.dialect == "sqlite":
            found = cursor.execute("SELECT value FROM meta WHERE key = 'incarnation'").fetchone()
            return str(found[0]) if found else "none"
        parts = cursor.execute(_INCARNATION).fetchone()
        return sha256(repr(tuple(str(part) for part in parts)).encode()).hexdigest()[:8]

    def take(self) -> None:
        """A bridge takes the database: SQLite gets a new incarnation, since its file may be an older copy. A change is logged."""
        keep = "INSERT INTO meta (key, value) VALUES ('incarnation', ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
        with self.write_cursor() as cursor:
            if self.in_recovery(cursor):
                return
            cursor.execute("SELECT value FROM meta WHERE key = 'incarnation'")
            before = next(iter(cursor.fetchone() or ()), None)
            now = secrets.token_hex(4) if self.dialect == "sqlite" else self.incarnation(cursor)
            if now != before:
                cursor.execute(self.sql(keep), (now,))
        if before is not None and now != before:
            log.warning("database: incarnation changed before=%s now=%s; every gateway will say hello", before, now)
        if self.dialect == "sqlite":
            self._minted = now  # nobody else takes the file while we have it
            self._taken = _identity(self.engine)

    def replaced(self) -> bool:
        """Whether another file stands in the place of the one that was taken: what is written now goes nowhere."""
        return self._taken is not None and _identity(self.engine) != self._taken

    def in_recovery(self, cursor: Any) -> bool:
        """A standby knows only what it was told so far: it must not answer a gateway."""
        return self.dialect == "postgresql" and bool(cursor.execute("SELECT pg_is_in_recovery()").fetchone()[0])

    def tell(self, cursor: Any) -> None:
        """In a transaction: its commit rings the bells of other processes (PostgreSQL; on SQLite they look once a second)."""
        if self.dialect == "postgresql":
            cursor.execute(f"NOTIFY {_CHANNEL}")

    def hear(self, stop: threading.Event) -> None:
        """Rings the bell of this process when another one commits, until `stop` is set. Returns at once on SQLite."""
        if self.dialect == "sqlite":
            return
        import psycopg

        url = self.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        while not stop.is_set():
            try:
                with psycopg.connect(url, autocommit=True, connect_timeout=5, application_name="harmattan-hub") as connection:
                    connection.execute(f"LISTEN {_CHANNEL}")
                    self.bell.ring()  # for what was committed before
                    while not stop.is_set():
                        for _ in connection.notifies(timeout=1.0, stop_after=1):
                            self.bell.ring()
            except psycopg.Error:
                stop.wait(1.0)  # whoever waits for the bell looks once a second anyway

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
        connect: dict[str, Any] = {"timeout": busy_ms / 1000, "isolation_level": None}
        engine = create_engine(parsed, pool_size=8, max_overflow=40, pool_timeout=10, connect_args=connect)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    # An acked row must survive a crash of the server, whatever its defaults say. A client that freezes loses its locks: the first
    # timeout ends a session that waits for it (see _whole_statements), the second one that cannot send it the rest of an answer.
    options = f"-c synchronous_commit=on -c timezone=UTC -c lock_timeout={WAIT_S}s"
    options += f" -c idle_in_transaction_session_timeout={FROZEN_S}s -c tcp_user_timeout={FROZEN_S}s"
    parsed = parsed.set(drivername="postgresql+psycopg")
    connect = {
        "options": options,
        "connect_timeout": 5,
        "application_name": "harmattan-hub",
        "cursor_factory": _whole_statements(),
        **GONE,
    }
    return create_engine(parsed, pool_pre_ping=True, pool_size=8, max_overflow=12, pool_timeout=10, connect_args=connect)


class _Turn:
    """A lock that is waited for WAIT_S; then DatabaseAway."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        if not self._lock.acquire(timeout=WAIT_S):
            raise DatabaseAway(f"another writer took longer than {WAIT_S} s", what="database", hint=HINT)

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _whole_statements() -> type[Any]:
    """psycopg's cursor, but each statement goes as one message, and so do all those of an `executemany`.

    PostgreSQL calls a transaction idle only while it waits for the message that begins a statement. psycopg sends a statement
    as five messages (Parse to Sync) and `executemany` as a pipeline of them: a client that froze in between was "active" and
    kept its locks for as long as it was frozen; no timeout of PostgreSQL 15 ends that. The one message of the simple protocol
    may break off at any byte.
    """
    from psycopg import ClientCursor

    class WholeStatements(ClientCursor[Any]):
        def executemany(self, query: Any, params_seq: Iterable[Any], *, returning: bool = False) -> None:
            """`rowcount` is the first row's."""
            if statements := [self.mogrify(query, params) for params in params_seq]:
                self.execute(";".join(statements).encode(self.connection.info.encoding))

    return WholeStatements


def sqlite_path(url: str) -> Path | None:
    """The file of a SQLite URL, None for PostgreSQL."""
    parsed = make_url(url)
    return Path(parsed.database or "") if parsed.get_backend_name() == "sqlite" else None


def _identity(engine: Engine) -> tuple[int, int] | None:
    """Which file a SQLite path leads to just now."""
    try:
        found = Path(engine.url.database or "").stat()
    except FileNotFoundError:
        return (0, 0)
    return found.st_dev, found.st_ino


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA cache_size = -16384")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    write = connection.get_execution_options().get("harmattan_write")
    connection.connection.cursor().execute("BEGIN IMMEDIATE" if write else "BEGIN")


def _driver_errors(dialect: Dialect) -> tuple[tuple[type[Exception], ...], tuple[type[Exception], ...]]:
    """What a cursor of the driver raises when the database is away, and when a lock did not come in time."""
    if dialect == "sqlite":
        return (sqlite3.OperationalError,), ()
    import psycopg

    return (psycopg.OperationalError, psycopg.InterfaceError), (psycopg.errors.LockNotAvailable,)


@contextmanager
def _named(away: tuple[type[Exception], ...]) -> Iterator[None]:
    """Turns the driver's "not now" into DatabaseAway; mistakes of ours (a wrong column, a broken key) stay what they are."""
    try:
        yield
    except (OperationalError, InterfaceError, InternalError, TimeoutError) as error:
        raise DatabaseAway(_cause(error), what="database", hint=HINT) from error
    except away as error:
        raise DatabaseAway(_cause(error), what="database", hint=HINT) from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise DatabaseAway(_cause(error), what="database", hint=HINT) from error
        raise


def _cause(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
