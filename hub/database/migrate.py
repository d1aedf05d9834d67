"""A database at any earlier version in, the newest tables out. Alembic is imported only here and only when asked.

SQLite is migrated at each start; PostgreSQL by `harmattan-hub migrate`, since several hubs may run on one.
"""

import logging
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from hub.database.engine import make_engine, sqlite_path
from readings.errors import Retry, Stop

MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(url: str) -> None:
    """Brings the tables up to date; makes the SQLite file if need be. Raises Stop on a newer schema, Retry if unreachable."""
    from alembic import command

    if path := sqlite_path(url):
        _make_private(path)
    with _connected(url, write=True) as connection:
        config = _config()
        _refuse_newer(connection, config)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def check(url: str) -> None:
    """Raises Stop when the tables are not those of this version, Retry when the database cannot be reached."""
    if (path := sqlite_path(url)) and not path.exists():
        raise Stop(f"there is no file {path}", what="database", hint="run: harmattan-hub migrate")
    with _connected(url, write=False) as connection:
        config = _config()
        found = _refuse_newer(connection, config)
        newest = _script(config).get_current_head()
        if found != newest:
            said = f"its tables are at version {found}, this hub needs {newest}" if found else "it has no tables yet"
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
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    known = {revision.revision for revision in _script(config).walk_revisions()}
    if found is not None and found not in known:
        hint = "run the newer hub, or restore a backup made by this one"
        raise Stop(f"its tables are at version {found}, newer than this hub", what="database", hint=hint)
    return str(found) if found is not None else None


def _make_private(path: Path) -> None:
    """The file holds password hashes: only its owner reads it."""
    try:
        path.touch(mode=0o600, exist_ok=True)
    except OSError as error:
        hint = "is its folder there, and may the hub's user write it?"
        raise Stop(f"{path} cannot be made: {error.strerror}", what="DATABASE_URL", hint=hint) from error
