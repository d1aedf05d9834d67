"""GET /audit: everything for the hub's admins, a network's own entries for its admins, nothing for others."""

from typing import Any

import pytest
from sqlalchemy import insert

from hub.audit import record
from hub.auth.tokens import NetworkRole, Role
from hub.database import tables
from tests.hub.face import Face, problem

PATH = "/api/v1/audit"


@pytest.fixture
def told(face: Face) -> Face:
    """Five entries: three of network 1, one of network 2, one of the hub."""
    with face.database.write() as connection:
        connection.execute(insert(tables.network).values(id=2, slug="kano", name="Kano"))
        for action, object_, network in (
            ("gateway.invite", "gateway:a", 1),
            ("gateway.revoke", "gateway:a", 1),
            ("member.add", "account:9", 2),
            ("keys.rotate", "signing:0", None),
            ("gateway.invite", "gateway:b", 1),
        ):
            record(connection, "shell", action, object_, network=network, why="né")
    return face


def ids(face: Face, token: str, **asked: Any) -> list[int]:
    answer = face.get(PATH, token, params=asked)
    assert answer.status_code == 200, answer.text
    return [entry["id"] for entry in answer.json()["results"]]


def test_the_hubs_admins_see_all_the_newest_first_page_by_page(told: Face) -> None:
    admin = told.token()
    first = told.get(PATH, admin, params={"limit": 2})
    assert 'rel="next"' in first.headers["link"]
    second = told.get(PATH, admin, params={"limit": 2, "cursor": first.json()["meta"]["next"]}).json()
    last = told.get(PATH, admin, params={"limit": 2, "cursor": second["meta"]["next"]}).json()
    assert [entry["id"] for page in (first.json(), second, last) for entry in page["results"]] == [5, 4, 3, 2, 1]
    assert last["meta"]["next"] is None
    entry = first.json()["results"][0]
    assert (entry["actor"], entry["action"], entry["object"], entry["network"]) == ("shell", "gateway.invite", "gateway:b", 1)
    assert (entry["detail"], entry["address"], len(entry["hash"])) == ({"why": "né"}, None, 64)
    assert entry["time"].endswith("Z")


def test_they_are_found_by_network_actor_and_action(told: Face) -> None:
    admin = told.token()
    assert ids(told, admin, network=1) == [5, 2, 1]
    assert ids(told, admin, network=1, action="gateway.invite") == [5, 1]
    assert ids(told, admin, actor="account:3") == []
    assert ids(told, admin, actor="shell' OR '1'='1") == []
    problem(told.get(PATH, admin, params={"actor": "a\0"}), 422, "invalid-request")
    problem(told.get(PATH, admin, params={"cursor": "x"}), 422, "invalid-request")
    problem(told.get(PATH, admin, params={"network": 2**63}), 404, "not-found")


def test_a_networks_admin_sees_its_entries_and_nobody_elses(told: Face) -> None:
    ann = told.person("ann@example.org", networks={1: NetworkRole.ADMIN})
    assert ids(told, ann, network=1) == [5, 2, 1]
    for other in (2, 999):
        problem(told.get(PATH, ann, params={"network": other}), 404, "not-found")
    problem(told.get(PATH, ann), 403, "forbidden")


def test_operators_and_people_without_a_network_see_nothing(told: Face) -> None:
    for email, networks in (("op@example.org", {1: NetworkRole.OPERATOR}), ("no@example.org", {})):
        token = told.person(email, role=Role.AUTHENTICATED, networks=networks)
        problem(told.get(PATH, token, params={"network": 1}), 403, "forbidden")
    problem(told.get(PATH), 401, "unauthorized")
