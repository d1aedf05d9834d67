"""A migrated database for each test: a SQLite file, or (server tests) a fresh database of a real PostgreSQL.

Migrated once for each kind, then copied: a migration costs more than most tests.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from hub.database.engine import Database, open_database
from hub.database.migrate import migrate
from tests.servers import Postgres

KINDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.server)]


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "hub.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def migrated_postgres(postgres_session: Postgres) -> str:
    url = postgres_session.new_database()
    migrate(url)
    return url


@pytest.fixture(params=KINDS)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, once of each kind."""
    return f"sqlite:///{tmp_path / 'hub.db'}" if request.param == "sqlite" else str(request.getfixturevalue("postgres"))


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a migrated database, once of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{shutil.copy(request.getfixturevalue('migrated_file'), tmp_path / 'hub.db')}"
    url = str(request.getfixturevalue("postgres"))
    template = request.getfixturevalue("migrated_postgres")
    server, name = url.rsplit("/", 1)
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}"'.encode())
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template.rsplit("/", 1)[1]}"'.encode())
    return url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated database, once of each kind."""
    opened = open_database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def sqlite_database(migrated_file: Path, tmp_path: Path) -> Iterator[Database]:
    """A migrated SQLite file."""
    opened = open_database(f"sqlite:///{shutil.copy(migrated_file, tmp_path / 'hub.db')}")
    yield opened
    opened.close()
