"""A database at any earlier version in, the newest tables out. Alembic is imported only here and only when asked.

SQLite is migrated at each start; PostgreSQL by `harmattan-hub migrate`, since several hubs may run on one.
"""

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from hub.database.engine import make_engine, sqlite_path
from readings.errors import Retry, Stop

MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(url: str) -> None:
    """Brings the tables up to date; makes the SQLite file if need be. Raises Stop on a newer schema, Retry if unreachable."""
    if path := sqlite_path(url):
        if _version(path) == newest():
            return
        _make_private(path)
    from alembic import command

    with _connected(url, write=True) as connection:
        config = _config()
        _refuse_newer(connection, config)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def newest() -> str:
    """The version of this program's tables, as the names of the migrations say it: importing alembic takes half a second."""
    return max(path.name.partition("_")[0] for path in MIGRATIONS.glob("versions/[0-9]*.py"))


def check(url: str) -> None:
    """Raises Stop when the tables are not those of this version, Retry when the database cannot be reached."""
    if (path := sqlite_path(url)) and not path.exists():
        raise Stop(f"there is no file {path}", what="database", hint="run: harmattan-hub migrate")
    with _connected(url, write=False) as connection:
        if _found(connection) == newest():
            return
        found = _refuse_newer(connection, _config())
        if found != newest():
            said = f"its tables are at version {found}, this hub needs {newest()}" if found else "it has no tables yet"
            raise Stop(said, what="database", hint="run: harmattan-hub migrate")


class _connected:
    """A connection of its own, closed with its engine; the driver's refusal as Retry."""

    def __init__(self, url: str, *, write: bool) -> None:
        self._engine = make_engine(url).execution_options(harmattan_write=write)

    def __enter__(self) -> Connection:
        try:
            self._transaction = self._engine.begin()
            return self._transaction.__enter__()
        except SQLAlchemyError as error:
            self._engine.dispose()
            raise _unreachable(error) from error

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            self._transaction.__exit__(kind, error, trace)
        finally:
            self._engine.dispose()
        if isinstance(error, SQLAlchemyError):
            raise _unreachable(error) from error


def _unreachable(error: SQLAlchemyError) -> Retry:
    why = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
    return Retry(why, what="database", hint="is DATABASE_URL right and the server up?")


def _config() -> Any:
    from alembic.config import Config

    logging.getLogger("alembic").setLevel(logging.WARNING)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def _script(config: Any) -> Any:
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(config)


def _refuse_newer(connection: Connection, config: Any) -> str | None:
    """The version found; Stop when this program has never heard of it."""
    found = _found(connection)
    if found is None:
        return None
    known = {revision.revision for revision in _script(config).walk_revisions()}
    if found not in known:
        hint = "run the newer hub, or restore a backup made by this one"
        raise Stop(f"its tables are at version {found}, newer than this hub", what="database", hint=hint)
    return found


def _found(connection: Connection) -> str | None:
    """The version of a database's tables; None without any."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def _version(path: Path) -> str | None:
    """As `_found`, of a SQLite file; None as well for one that cannot be asked now: then the long way says why."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=1)) as connection:
            found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error:
        return None
    return str(found[0]) if found else None


def _make_private(path: Path) -> None:
    """The file holds password hashes: only its owner reads it."""
    try:
        path.touch(mode=0o600, exist_ok=True)
    except OSError as error:
        hint = "is its folder there, and may the hub's user write it?"
        raise Stop(f"{path} cannot be made: {error.strerror}", what="DATABASE_URL", hint=hint) from error
