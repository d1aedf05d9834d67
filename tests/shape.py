"""HARMATTAN_TEST_SHAPE in; what the tests of this run stand on out: `embedded` is SQLite + memory, `servers` PostgreSQL + Redis.

`database_of(folder)` is the one way to a migrated database of one's own; `settings_of(folder)` are the settings of a hub over it.
Tests that take both kinds of database by themselves stay as they are. What is about SQLite itself is `embedded_only`.
"""

import atexit
import os
import shutil
import tempfile
from contextlib import ExitStack
from functools import cache
from itertools import count
from pathlib import Path

import pytest

from hub.database.migrate import migrate
from tests.servers import Postgres, open_redis, postgres_server

SHAPES = ("embedded", "servers")
SHAPE = os.environ.get("HARMATTAN_TEST_SHAPE", "embedded")
if SHAPE not in SHAPES:
    raise SystemExit(f"HARMATTAN_TEST_SHAPE={SHAPE}: no such shape; write one of {', '.join(SHAPES)}")
SERVERS = SHAPE == "servers"
_OPEN = ExitStack()
_MADE: dict[Path, str] = {}
_TURN = count()
REDIS_DATABASES = 16
atexit.register(_OPEN.close)


def embedded_only(reason: str) -> pytest.MarkDecorator:
    """A test that is about SQLite itself, or about a hub without any server."""
    return pytest.mark.skipif(SERVERS, reason=f"embedded only: {reason}")


@cache
def postgres() -> Postgres:
    """The one PostgreSQL of this run."""
    return _OPEN.enter_context(postgres_server())


@cache
def redis_url() -> str:
    """The one Redis of this run."""
    return os.environ.get("HARMATTAN_TEST_REDIS") or _OPEN.enter_context(open_redis()).url


@cache
def migrated_file() -> Path:
    """A migrated SQLite file, to be copied: a migration takes longer than most tests."""
    folder = Path(_OPEN.enter_context(tempfile.TemporaryDirectory(prefix="harmattan-migrated-")))
    migrate(f"sqlite:///{folder / 'hub.db'}")
    return folder / "hub.db"


@cache
def migrated_postgres() -> str:
    """The URL of a migrated PostgreSQL database, to be copied."""
    url = postgres().new_database()
    migrate(url)
    return url


def database_of(folder: Path) -> str:
    """The URL of this folder's database, migrated when it is first asked for: its hub.db, or one of the PostgreSQL."""
    if SERVERS:
        return _MADE.get(folder) or _MADE.setdefault(folder, postgres().new_database(template=migrated_postgres()))
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "hub.db").exists():
        shutil.copy(migrated_file(), folder / "hub.db")
    return f"sqlite:///{folder / 'hub.db'}"


def drop(folder: Path) -> None:
    """This folder's database is not needed any more."""
    if SERVERS and folder in _MADE:
        postgres().drop_database(_MADE.pop(folder))


def settings_of(folder: Path) -> dict[str, str]:
    """Of a hub whose DATA_DIR this is; {} for a hub that needs no server, whose database is made by itself."""
    return {"database_url": database_of(folder), "redis_url": empty_redis()} if SERVERS else {}


def empty_redis() -> str:
    """The next of Redis' databases, emptied: what one test counted does not hold up another."""
    import redis  # only these tests need it

    url = f"{redis_url().rsplit('/', 1)[0]}/{next(_TURN) % REDIS_DATABASES}"
    with redis.Redis.from_url(url) as connection:
        connection.flushdb()
    return url


def environment_of(folder: Path) -> dict[str, str]:
    """`settings_of` as variables."""
    return {name.upper(): value for name, value in settings_of(folder).items()}
