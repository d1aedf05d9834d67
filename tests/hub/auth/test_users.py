"""/users: the hub's admins look after people; nobody else does."""

from typing import Any

import httpx2
import pytest
from sqlalchemy import insert, select

from hub.auth.tokens import NetworkRole, Role
from hub.database import tables
from tests.hub.auth.people import ADA, EVE, OTHER, PHRASE, actions, login, post, refresh, signed_in
from tests.hub.auth.test_callers import add_key
from tests.hub.face import Face, problem
from tests.servers import wait_until

USERS = "/api/v1/users"


def ask(face: Face, method: str, path: str, token: str | None, **more: Any) -> httpx2.Response:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return face.http.request(method, f"{USERS}{path}", headers=headers | more.pop("headers", {}), **more)


def test_an_admin_makes_an_account_and_its_owner_chooses_the_password(both: Face) -> None:
    admin = both.person("root@example.org", role=Role.ADMIN)
    made = ask(both, "POST", "", admin, json={"email": " EVE@example.org", "name": "Eve", "role": "authenticated"})
    assert made.status_code == 201
    said = made.json()
    assert said["account"]["email"] == EVE
    link, _, token = said["link"].partition("/#/reset?token=")
    assert link == both.url
    problem(login(both, EVE, ""), 401, "login-failed")
    assert post(both, "/auth/password/reset", token=token, new=OTHER).status_code == 204
    assert login(both, EVE, OTHER).json()["account"]["email_verified"] is False
    problem(ask(both, "POST", "", admin, json={"email": EVE, "name": "Eve"}), 409, "address-taken")
    assert ("account:1", "account.add", "account:2") in actions(both)


def test_users_are_listed_by_pages_with_their_networks(both: Face) -> None:
    admin = both.person("root@example.org", role=Role.ADMIN)
    both.person(EVE, networks={1: NetworkRole.OPERATOR})
    first = ask(both, "GET", "?limit=1", admin).json()
    second = ask(both, "GET", f"?limit=1&cursor={first['meta']['next']}", admin).json()
    assert [one["email"] for one in first["results"] + second["results"]] == ["root@example.org", EVE]
    assert [(one["slug"], one["role"]) for one in second["results"][0]["networks"]] == [("default", "operator")]
    assert second["meta"]["next"] is None
    assert ask(both, "GET", "/2", admin).json() == second["results"][0]


def test_a_disabled_person_is_out_at_once_and_in_again_when_enabled(both: Face) -> None:
    admin = both.person("root@example.org", role=Role.ADMIN)
    eve = signed_in(both, EVE, OTHER)
    assert ask(both, "PATCH", "/2", admin, json={"disabled": True}).json()["disabled"] is True
    wait_until(lambda: both.get("/api/v1/auth/me", eve["access_token"]).status_code == 401, "the end", 2)
    assert refresh(both, eve["refresh_token"]).status_code == 401
    assert login(both, EVE, OTHER).status_code == 401
    assert ask(both, "PATCH", "/2", admin, json={"disabled": False, "name": "Eve B."}).json()["name"] == "Eve B."
    assert login(both, EVE, OTHER).status_code == 200


def test_an_admin_ends_sessions_and_hands_out_a_link(face: Face) -> None:
    admin = face.person("root@example.org", role=Role.ADMIN)
    eve = signed_in(face, EVE, OTHER)
    assert ask(face, "DELETE", "/2/sessions", admin).status_code == 204
    assert refresh(face, eve["refresh_token"]).status_code == 401
    token = ask(face, "POST", "/2/reset", admin).json()["link"].partition("token=")[2]
    assert post(face, "/auth/password/reset", token=token, new=PHRASE).status_code == 204
    assert login(face, EVE, PHRASE).status_code == 200


def test_a_removed_person_leaves_a_number_in_the_audit_log_and_nothing_else(both: Face) -> None:
    admin = both.person("root@example.org", role=Role.ADMIN)
    signed_in(both, EVE, OTHER)
    add_key(both, "a", "read", account=2)
    with both.database.write() as connection:
        connection.execute(insert(tables.membership).values(account=2, network=1, role="viewer"))
    assert ask(both, "DELETE", "/2", admin).status_code == 204
    problem(ask(both, "GET", "/2", admin), 404, "not-found")
    with both.database.read() as connection:
        for table in (tables.session, tables.api_key, tables.membership):
            assert 2 not in connection.execute(select(table.c.account)).scalars().all()
        kept = " ".join(str(tuple(row)) for row in connection.execute(select(tables.audit)))
    assert "account:2" in kept
    assert EVE not in kept


def test_the_last_admin_can_neither_be_lowered_disabled_nor_removed(both: Face) -> None:
    admin = both.person("root@example.org", role=Role.ADMIN)
    for change in ({"role": "authenticated"}, {"disabled": True}):
        problem(ask(both, "PATCH", "/1", admin, json=change), 409, "last-admin")
    problem(ask(both, "DELETE", "/1", admin), 409, "last-admin")
    both.person(ADA, role=Role.ADMIN)
    assert ask(both, "PATCH", "/1", admin, json={"role": "authenticated"}).json()["role"] == "authenticated"
    wait_until(lambda: ask(both, "GET", "", admin).status_code == 403, "the lower role", 2)


EVERY = [
    ("GET", "", None), ("POST", "", {"email": ADA, "name": "A"}), ("GET", "/1", None), ("PATCH", "/1", {"name": "x"}),
    ("POST", "/1/reset", None), ("DELETE", "/1/sessions", None), ("DELETE", "/1", None),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body"), EVERY)
def test_nobody_else_may(face: Face, method: str, path: str, body: Any) -> None:
    face.person("root@example.org", role=Role.ADMIN)
    of_a_network = face.person(ADA, networks={1: NetworkRole.ADMIN})
    key = add_key(face, "a", "write", account=1)
    problem(ask(face, method, path, None, json=body), 401, "unauthorized")
    for token in (of_a_network, face.token(networks=(1,)), face.token(Role.AUTHENTICATED)):
        problem(ask(face, method, path, token, json=body), 403, "forbidden")
    if method != "GET":
        problem(ask(face, method, path, None, headers={"X-API-Key": key}, json=body), 403, "forbidden")


def test_ids_that_nobody_has_and_fields_that_nobody_gives_are_refused(both: Face) -> None:
    admin = both.person("root@example.org", role=Role.ADMIN)
    for number in ("0", "-1", "99", str(2**63), str(2**70)):
        for method, path, body in (
            ("GET", "", None),
            ("PATCH", "", {"name": "x"}),
            ("POST", "/reset", None),
            ("DELETE", "", None),
        ):
            problem(ask(both, method, f"/{number}{path}", admin, json=body), 404, "not-found")
    for field in ("id", "email", "password", "email_verified", "networks", "totp"):
        assert problem(ask(both, "PATCH", "/1", admin, json={field: "x"}), 422, "invalid-request")["errors"][0]["name"] == field
    problem(ask(both, "POST", "", admin, json={"email": EVE, "name": "E", "role": "root"}), 422, "invalid-request")
