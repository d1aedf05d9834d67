"""A running HTTP face, over SQLite and over PostgreSQL, with a gateway that has a key."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from hub.auth.callers import key_hash
from hub.database import tables
from tests.hub.face import Face, face, migrated, open_face

__all__ = ["face", "migrated"]
KINDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.server)]


@pytest.fixture(params=KINDS)
def any_face(request: pytest.FixtureRequest, migrated: Path, tmp_path: Path) -> Iterator[Face]:
    """A face over each kind of database; limits of addresses are off."""
    free: dict[str, Any] = {"rate_limit_address": None, "rate_limit_key": None}
    if request.param == "postgresql":
        free["database_url"] = request.getfixturevalue("postgres")
    with open_face(migrated, tmp_path, **free) as running:
        yield running


def keyed(face: Face, name: str, *, kind: str = "edge", scopes: str = "ingest", network: int = 1) -> str:
    """A gateway of this name, and a new API key of it."""
    key = secrets.token_hex(32)
    with face.database.write() as connection:
        found = connection.execute(select(tables.gateway.c.id).where(tables.gateway.c.name == name)).scalar()
        if found is None:
            row = {"network": network, "name": name, "kind": kind, "enrolled_ms": 1}
            found = connection.execute(insert(tables.gateway).values(row).returning(tables.gateway.c.id)).scalar_one()
        made = {"hash": key_hash(key), "hint": key[:4], "name": "test", "gateway": found, "scopes": scopes, "created_ms": 1}
        connection.execute(insert(tables.api_key).values(made))
    return key


def second_network(face: Face, slug: str = "other", **columns: Any) -> int:
    """The id of another network."""
    with face.database.write() as connection:
        statement = insert(tables.network).values(slug=slug, name=slug, **columns).returning(tables.network.c.id)
        return int(connection.execute(statement).scalar_one())


def revoke(face: Face, name: str) -> None:
    with face.database.write() as connection:
        connection.execute(update(tables.gateway).where(tables.gateway.c.name == name).values(revoked_ms=1))
    face.app.state.callers.forget()
