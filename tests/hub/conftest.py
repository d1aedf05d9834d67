"""A migrated database for each test: a SQLite file, or (server tests) a fresh database of a real PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.database.engine import Database, open_database


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.server)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, once of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'hub.db'}"
    return str(request.getfixturevalue("postgres"))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated database, once of each kind."""
    opened = open_database(database_url, create=True)
    yield opened
    opened.close()


@pytest.fixture
def sqlite_database(tmp_path: Path) -> Iterator[Database]:
    """A migrated SQLite file."""
    opened = open_database(f"sqlite:///{tmp_path / 'hub.db'}", create=True)
    yield opened
    opened.close()
