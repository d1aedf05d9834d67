"""A hub's database and broker folder, real files, fresh for each test."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.database.engine import Database, open_database
from hub.fleet import broker
from tests.hub.face import face, migrated

__all__ = ["face", "migrated"]


@pytest.fixture
def database(migrated: Path, tmp_path: Path) -> Iterator[Database]:
    shutil.copy(migrated, tmp_path / "hub.db")
    opened = open_database(f"sqlite:///{tmp_path / 'hub.db'}")
    yield opened
    opened.close()


@pytest.fixture
def broker_dir(tmp_path: Path) -> Path:
    broker.write(tmp_path / "broker", 1883)
    return tmp_path / "broker"
