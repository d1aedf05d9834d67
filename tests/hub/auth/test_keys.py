"""API keys: told once, kept as a hash, good for what their scopes say until they end."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from hub.answers import rfc3339
from hub.auth import keys
from hub.auth.tokens import NetworkRole, Role
from hub.database import tables
from hub.database.engine import Database
from hub.problems import Problem
from tests.hub.face import DAY_MS, Face, now_ms, problem

PATH = "/api/v1/auth/keys"
WISH = {"name": "notebook", "scopes": ["read"]}


@pytest.fixture
def ada(face: Face) -> str:
    return face.person("ada@example.org")


def post(face: Face, token: str, **wish: Any) -> Any:
    return face.http.post(PATH, json=WISH | wish, headers={"Authorization": f"Bearer {token}"})


def delete(face: Face, token: str, number: object) -> Any:
    return face.http.delete(f"{PATH}/{number}", headers={"Authorization": f"Bearer {token}"})


def me(face: Face, key: str) -> Any:
    return face.http.get("/api/v1/auth/me", headers={"X-API-Key": key})


def test_a_key_is_told_once_listed_by_its_hint_and_ends_when_it_is_revoked(face: Face, ada: str) -> None:
    answer = post(face, ada, scopes=["read", "ingest", "read"])
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    made = answer.json()
    key = made.pop("key")
    assert len(key) == 64
    assert int(key, 16) >= 0
    assert (made["name"], made["scopes"], made["hint"]) == ("notebook", ["ingest", "read"], key[:6])
    assert me(face, key).json()["email"] == "ada@example.org"
    (listed,) = face.get(PATH, ada).json()["results"]
    assert listed | {"used": None} == made
    assert listed["used"] is not None
    assert key not in face.get(PATH, ada).text
    with face.database.read() as connection:
        row = connection.execute(select(tables.api_key)).one()
        told = connection.execute(
            select(tables.audit.c.action, tables.audit.c.actor, tables.audit.c.object, tables.audit.c.detail)
        )
        entries = [tuple(entry) for entry in told]
    assert row.hash == sha256(key.encode()).hexdigest()
    assert delete(face, ada, made["id"]).status_code == 204
    problem(me(face, key), 401, "unauthorized")
    assert face.get(PATH, ada).json()["results"] == []
    problem(delete(face, ada, made["id"]), 404, "not-found")
    assert entries == [("key.add", "account:1", f"key:{made['id']}", '{"scopes":["ingest","read"]}')]
    assert key not in str(entries)


def test_a_key_ends_by_itself_when_its_time_has_come(face: Face, ada: str) -> None:
    key = post(face, ada, expires=rfc3339(now_ms() + DAY_MS)).json()["key"]
    assert me(face, key).status_code == 200
    with face.database.write() as connection:
        connection.execute(update(tables.api_key).values(expires_ms=now_ms() - 1))
    face.app.state.callers.forget()
    problem(me(face, key), 401, "unauthorized")


@pytest.mark.parametrize(
    ("wish", "named"),
    [
        ({"scopes": []}, "scopes"),
        ({"scopes": ["admin"]}, "scopes"),
        ({"scopes": "read"}, "scopes"),
        ({"name": ""}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"expires": "2020-01-01T00:00:00Z"}, "expires"),
        ({"expires": "2099-01-01T00:00:00"}, "expires"),
        ({"expires": "tomorrow"}, "expires"),
        ({"expires": 4_000_000_000}, "expires"),
        ({"account": 2}, "account"),
        ({"gateway": 1}, "gateway"),
        ({"hash": "0" * 64}, "hash"),
    ],
)
def test_a_wish_that_cannot_be_is_refused_and_named(shared: Face, wish: dict[str, Any], named: str) -> None:
    said = problem(post(shared, shared.person(f"{abs(hash(str(wish)))}@example.org"), **wish), 422, "invalid-request")
    assert named in str(said["errors"])


def test_a_key_makes_sees_and_revokes_no_keys(face: Face, ada: str) -> None:
    made = post(face, ada, scopes=["read", "write", "ingest"]).json()
    header = {"X-API-Key": made["key"]}
    problem(face.http.get(PATH, headers=header), 403, "forbidden")
    problem(face.http.post(PATH, json=WISH, headers=header), 403, "forbidden")
    problem(face.http.delete(f"{PATH}/{made['id']}", headers=header), 403, "forbidden")
    problem(face.get(PATH, face.token()), 403, "forbidden")  # a token of the shell has no account
    problem(face.get(PATH), 401, "unauthorized")


def test_a_key_with_the_scope_read_changes_nothing(face: Face, ada: str) -> None:
    key = post(face, ada).json()["key"]
    problem(face.http.patch("/api/v1/auth/me", json={"name": "Eve"}, headers={"X-API-Key": key}), 403, "forbidden")


def test_another_persons_key_is_not_there(face: Face, ada: str) -> None:
    number = post(face, ada).json()["id"]
    admin = face.person("eve@example.org", role=Role.ADMIN, networks={1: NetworkRole.ADMIN})
    for wrong in (number, 999, 0, -1, 2**63, 10**30):
        problem(delete(face, admin, wrong), 404, "not-found")
    assert face.get(PATH, admin).json()["results"] == []
    assert len(face.get(PATH, ada).json()["results"]) == 1


@pytest.fixture(scope="module")
def shared(migrated: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Face]:
    """One face for tests that leave nothing behind."""
    from tests.hub.face import open_face

    with open_face(migrated, tmp_path_factory.mktemp("keys")) as running:
        yield running


def owners(database: Database) -> None:
    with database.write() as connection:
        connection.execute(
            insert(tables.account).values(id=1, email="a@example.org", name="a", role="authenticated", created_ms=0)
        )
        connection.execute(insert(tables.gateway).values(id=1, network=1, name="push-01", kind="push", key_version=0))


def test_an_owner_has_fifty_keys_and_two_requests_at_once_make_no_more(database: Database) -> None:
    owners(database)
    with database.write() as connection:
        made = [keys.issue(connection, name="k", scopes=["ingest"], gateway=1)[0] for _ in range(keys.PER_OWNER - 2)]

    def one_more(_: int) -> bool:
        try:
            with database.write() as connection:
                keys.issue(connection, name="k", scopes=["ingest"], gateway=1)
        except Problem as refused:
            return refused.kind.name != "too-many-keys"
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(one_more, range(6))) == 2
    with database.write() as connection:
        keys.issue(connection, name="k", scopes=["read"], account=1)  # each owner has fifty of their own
        assert not keys.revoke(connection, made[0], account=1)
        assert keys.revoke(connection, made[0], gateway=1)
        keys.issue(connection, name="k", scopes=["ingest"], gateway=1)
        assert len(keys.listed(connection, gateway=1)) == keys.PER_OWNER
        assert [one.scopes for one in keys.listed(connection, account=1)] == [["read"]]


def test_a_key_of_nobody_of_two_or_without_a_scope_is_a_mistake(sqlite_database: Database) -> None:
    owners(sqlite_database)
    for wrong in ({}, {"account": 1, "gateway": 1}, {"account": 1, "scopes": []}, {"account": 1, "scopes": ["root"]}):
        with pytest.raises(ValueError, match=r"key|scope|Scope"), sqlite_database.write() as connection:
            keys.issue(connection, **({"name": "k", "scopes": ["read"]} | wrong))


def test_its_last_use_is_noted_with_its_hint_and_not_at_each_request(face: Face, ada: str) -> None:
    key = post(face, ada).json()["key"]
    for _ in range(3):
        face.app.state.callers.forget()
        assert me(face, key).status_code == 200
    with face.database.read() as connection:
        (used,) = connection.execute(select(tables.api_key.c.used_ms)).scalars()
    assert now_ms() - DAY_MS < used <= now_ms()
