"""A hub's database and broker folder, real files, fresh for each test."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.database.engine import Database, open_database
from hub.fleet import broker


@pytest.fixture(scope="session")
def empty_hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file, made once, copied by each test."""
    path = tmp_path_factory.mktemp("empty") / "hub.db"
    open_database(f"sqlite:///{path}", create=True).close()
    return path


@pytest.fixture
def database(empty_hub: Path, tmp_path: Path) -> Iterator[Database]:
    shutil.copy(empty_hub, tmp_path / "hub.db")
    opened = open_database(f"sqlite:///{tmp_path / 'hub.db'}")
    yield opened
    opened.close()


@pytest.fixture
def broker_dir(tmp_path: Path) -> Path:
    broker.write(tmp_path / "broker", 1883)
    return tmp_path / "broker"
