"""A running HTTP face; one over each kind of database; and people in it who can sign in."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub.face import Face, face, migrated, open_face

__all__ = ["face", "migrated"]


@pytest.fixture
def both(database_url: str, migrated: Path, tmp_path: Path) -> Iterator[Face]:
    """A face over SQLite, then (server tests) over PostgreSQL."""
    (tmp_path / "data").mkdir()
    with open_face(migrated, tmp_path / "data", database_url=database_url) as running:
        yield running
