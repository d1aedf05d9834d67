"""A migrated database for each test: a SQLite file, or (server tests) a fresh database of a real PostgreSQL.

Migrated once for each kind, then copied: a migration costs more than most tests.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.database.engine import Database, open_database
from tests import shape

KINDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.server)]


@pytest.fixture(scope="session")
def migrated_file() -> Path:
    return shape.migrated_file()


@pytest.fixture(params=KINDS)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, once of each kind."""
    return f"sqlite:///{tmp_path / 'hub.db'}" if request.param == "sqlite" else str(request.getfixturevalue("postgres"))


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, migrated_file: Path, tmp_path: Path) -> Iterator[str]:
    """The URL of a migrated database, once of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{shutil.copy(migrated_file, tmp_path / 'hub.db')}"
        return
    url = shape.postgres().new_database(template=shape.migrated_postgres())
    yield url
    shape.postgres().drop_database(url)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated database, once of each kind."""
    opened = open_database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def one_database(tmp_path: Path) -> Iterator[Database]:
    """A migrated database of the kind that this run stands on: for what would be the same on another."""
    opened = open_database(shape.database_of(tmp_path))
    yield opened
    opened.close()
    shape.drop(tmp_path)


@pytest.fixture
def sqlite_database(migrated_file: Path, tmp_path: Path) -> Iterator[Database]:
    """A migrated SQLite file, whatever this run stands on: for tests about SQLite itself."""
    opened = open_database(f"sqlite:///{shutil.copy(migrated_file, tmp_path / 'hub.db')}")
    yield opened
    opened.close()
