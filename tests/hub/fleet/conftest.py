"""A hub's database and broker folder, real files, fresh for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.database.engine import Database, open_database
from hub.fleet import broker
from tests import shape
from tests.hub.face import face, migrated

__all__ = ["face", "migrated"]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(shape.database_of(tmp_path))
    yield opened
    opened.close()
    shape.drop(tmp_path)


@pytest.fixture
def broker_dir(tmp_path: Path) -> Path:
    broker.write(tmp_path / "broker", 1883)
    return tmp_path / "broker"
