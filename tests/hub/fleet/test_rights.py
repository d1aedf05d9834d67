"""Who may do what in a network: each change as each role, on the own network's objects and on another's; fields nobody gives."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import insert, select

from hub.auth.tokens import NetworkRole, Role
from hub.database import tables
from hub.fleet import broker
from tests.hub.face import SITE, Face, now_ms, open_face, problem
from tests.hub.field import Gateway

API = "/api/v1"
WRONG = 404
"""What a stranger is told, of an object that is there and of one that is not."""
CHANGES: list[tuple[str, str, dict[str, Any] | None, str]] = [
    ("PATCH", "/networks/2", {"embargo_s": 60}, "admin"),
    ("DELETE", "/networks/2", None, "admin"),
    ("GET", "/networks/2/members", None, "admin"),
    ("POST", "/networks/2/members", {"email": "nobody@example.org", "role": "viewer"}, "admin"),
    ("PUT", "/networks/2/members/99", {"role": "viewer"}, "admin"),
    ("DELETE", "/networks/2/members/99", None, "admin"),
    ("POST", "/stations", {"network": 2, "name": "roof"}, "operator"),
    ("POST", "/stations", {"network": 2, "name": "hidden", "visibility": "private"}, "admin"),
    ("PATCH", "/stations/1", {"altitude_m": 3}, "operator"),
    ("PATCH", "/stations/1", {"visibility": "coarse"}, "admin"),
    ("DELETE", "/stations/2", None, "operator"),
    ("POST", "/sensors", {"gateway": "theirs", "local_id": "co2"}, "operator"),
    ("PATCH", "/sensors/1", {"serial": "P-1"}, "operator"),
    ("DELETE", "/sensors/1", None, "operator"),
    ("POST", "/sensors/1/move", {"station": 2}, "operator"),
    ("POST", "/sensors/1/swap", {"serial": "P-2"}, "operator"),
    ("GET", "/gateways/theirs", None, "operator"),
    ("GET", "/gateways/theirs/ledger", None, "operator"),
    ("PATCH", "/gateways/theirs", {"network": 2}, "admin"),
    ("POST", "/gateways", {"name": "new-01", "network": 2}, "admin"),
    ("POST", "/gateways/theirs/invite", {}, "admin"),
    ("POST", "/gateways/theirs/move", {"station": 2}, "operator"),
    ("GET", "/gateways/theirs/keys", None, "admin"),
    ("POST", "/gateways/theirs/keys", {"name": "yard"}, "admin"),
    ("DELETE", "/gateways/theirs/keys/9", None, "admin"),
    ("POST", "/gateways/theirs/revoke", {}, "admin"),
]
BODIES = [(method, path, body) for method, path, body, _ in CHANGES if body]
RANKS = ("viewer", "operator", "admin")


class Town:
    """Network 2 is private and has gateway `theirs` with sensor 1 at station 1, and an empty station 2. Network 1 has `ours`."""

    def __init__(self, face: Face) -> None:
        self.face = face
        with face.database.write() as connection:
            connection.execute(insert(tables.network).values(slug="theirs", name="Theirs", visibility="private"))
            connection.execute(insert(tables.gateway).values(network=2, name="theirs", key_version=1, enrolled_ms=1))
        gateway = Gateway("theirs", stream="00000000000000f1")
        begun = now_ms() - 600_000
        gateway.start(SITE, at_ms=begun)
        gateway.schema()
        for minute in range(10):
            gateway.sample([7, 8, 9], begun + minute * 60_000)
        face.feed(gateway)
        with face.database.write() as connection:
            connection.execute(insert(tables.station).values(network=2, name="yard", visibility="private"))
        self.people = {role: face.person(f"{role}@example.org", networks={2: NetworkRole(role)}) for role in RANKS}
        self.people["stranger"] = face.person("eve@example.org", networks={1: NetworkRole.ADMIN})
        self.people["hub"] = face.person("root@example.org", role=Role.ADMIN)

    def ask(self, who: str | None, method: str, path: str, body: Any = None) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self.people[who]}"} if who else {}
        return self.face.http.request(method, API + path, headers=headers, json=body)

    def audit(self) -> list[tuple[str, str, int | None]]:
        row = tables.audit.c
        with self.face.database.read() as connection:
            asked = select(row.action, row.object, row.network).where(row.action.not_like("account.%")).order_by(row.id)
            return [tuple(found) for found in connection.execute(asked)]


@pytest.fixture(scope="module")
def shared(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """For requests that change nothing."""
    with open_face(migrated, tmp_path_factory.mktemp("town")) as running:
        yield Town(running)


@pytest.fixture
def town(face: Face) -> Town:
    return Town(face)


def test_too_low_a_role_is_refused_and_strangers_find_nothing(shared: Town) -> None:
    wrong = []
    for method, path, body, least in CHANGES:
        expected = {None: 401, "stranger": WRONG} | {role: 403 for role in RANKS if RANKS.index(role) < RANKS.index(least)}
        for who, status in expected.items():
            got = shared.ask(who, method, path, body).status_code
            if got != status:
                wrong.append((who, method, path, got, status))
    assert wrong == []
    assert shared.audit() == []


def test_a_stranger_cannot_tell_what_is_there_from_what_is_not(shared: Town) -> None:
    wrong = []
    for method, path, body, _ in CHANGES:
        unknown = path.replace("/2", "/77").replace("/1", "/77").replace("theirs", "nobodys")
        missing = None if body is None else {**body, **({"network": 77} if "network" in body else {})}
        if missing and "gateway" in missing:
            missing["gateway"] = "nobodys"
        one, other = shared.ask("stranger", method, path, body), shared.ask("stranger", method, unknown, missing)
        if (one.status_code, {**one.json(), "instance": ""}) != (other.status_code, {**other.json(), "instance": ""}):
            wrong.append((method, path, one.text, other.text))
    assert wrong == []


def test_an_object_of_another_network_may_not_be_named_in_a_body(town: Town) -> None:
    face = town.face
    face.station("ours", samples=1)
    sensor = face.get(f"{API}/sensors?name=ours/pm").json()["results"][0]
    for path, body in (
        (f"/sensors/{sensor['id']}/move", {"station": 2}),
        ("/gateways/ours/move", {"station": 2}),
        ("/sensors", {"gateway": "ours", "local_id": "x", "station": 2}),
        ("/sensors", {"gateway": "theirs", "local_id": "x"}),
    ):
        problem(town.ask("stranger", "POST", path, body), 404, "not-found")
    problem(town.ask("stranger", "PATCH", "/gateways/ours", {"network": 2}), 404, "not-found")
    problem(town.ask("hub", "POST", "/gateways/ours/move", {"station": 2}), 422, "invalid-request")
    assert town.audit() == []


@pytest.mark.parametrize("field", ["id", "role", "created_ms", "key_hash", "closed_ms", "told"])
def test_a_field_that_nobody_gives_is_refused_by_name(shared: Town, field: str) -> None:
    for method, path, body in BODIES:
        said = problem(
            shared.ask("hub", method, path, {"email": "a@b.org"} | {field: 1} if "members" in path else body | {field: 1}),
            422,
            "invalid-request",
        )
        assert "members" in path or [one["name"] for one in said["errors"]] == [field], (method, path)


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "", "x" * 3000, "a\nb"])
def test_a_text_that_no_database_can_hold_is_refused(shared: Town, text: str) -> None:
    sent = json.dumps({"network": 2, "name": text}).encode()
    headers = {"Authorization": f"Bearer {shared.people['hub']}", "Content-Type": "application/json"}
    answer = shared.face.http.post(f"{API}/stations", content=sent, headers=headers)
    assert answer.status_code == 422, answer.text


@pytest.mark.parametrize(
    "path", ["/networks/{}", "/stations/{}", "/sensors/{}", "/stations/{}/deployments", "/sensors/{}/deployments"]
)
def test_ids_beyond_every_table_are_unknown(shared: Town, path: str) -> None:
    for number in (0, -1, 1 << 63, 1 << 70):
        problem(shared.ask("hub", "GET", path.format(number)), 404, "not-found")


def test_an_admin_runs_a_network_from_end_to_end_and_each_change_is_in_the_audit_log(town: Town) -> None:
    made = town.ask("hub", "POST", "/networks", {"slug": "new", "name": "New", "licence": "CC-BY-4.0", "visibility": "coarse"})
    assert made.status_code == 201, made.text
    network = made.json()["id"]
    assert (
        town.ask("hub", "POST", f"/networks/{network}/members", {"email": "eve@example.org", "role": "admin"}).status_code == 201
    )
    station = town.ask("stranger", "POST", "/stations", {"network": network, "name": "school", "latitude": 6.5, "longitude": 3.4})
    assert (station.status_code, station.json()["visibility"], station.json()["licence"]) == (201, "coarse", "CC-BY-4.0")
    gateway = town.ask("stranger", "POST", "/gateways", {"name": "school-01", "network": network, "kind": "push"}).json()
    assert (gateway["token"], gateway["gateway"]["kind"], gateway["gateway"]["state"]) == (None, "push", "enrolled")
    key = town.ask("stranger", "POST", "/gateways/school-01/keys", {"name": "yard"}).json()
    assert (len(key["key"]), key["scopes"]) == (64, ["ingest"])
    sensor = {"gateway": "school-01", "local_id": "pm", "station": station.json()["id"]}
    sensor_id = town.ask("stranger", "POST", "/sensors", sensor).json()["id"]
    assert town.ask("stranger", "PATCH", f"/sensors/{sensor_id}", {"maker": "Plantower", "height_m": 2.5}).status_code == 200
    place = town.ask("stranger", "GET", f"/sensors/{sensor_id}/deployments").json()["results"]
    assert [(one["station"], one["to"], one["height_m"]) for one in place] == [(station.json()["id"], None, 2.5)]
    problem(town.ask("stranger", "DELETE", f"/stations/{station.json()['id']}"), 409, "in-use")
    assert town.ask("stranger", "DELETE", f"/sensors/{sensor_id}").status_code == 204
    assert town.ask("stranger", "DELETE", f"/gateways/school-01/keys/{key['id']}").status_code == 204
    assert town.ask("stranger", "POST", "/gateways/school-01/revoke").status_code == 204
    problem(town.ask("stranger", "POST", "/gateways/school-01/keys", {"name": "again"}), 409, "gateway-state")
    problem(town.ask("hub", "DELETE", f"/networks/{network}"), 409, "in-use")
    actions = [action for action, _, at in town.audit() if at == network]
    assert actions == [
        *("network.add", "member.add", "station.add", "gateway.add", "gateway.key_add", "sensor.add", "sensor.change"),
        *("sensor.remove", "gateway.key_revoke", "gateway.revoke"),
    ]


def test_the_last_admin_of_a_network_can_neither_go_nor_be_demoted_but_by_the_hubs_admin(town: Town) -> None:
    listed = town.ask("admin", "GET", "/networks/2/members").json()["results"]
    admin = next(one["account"] for one in listed if one["role"] == "admin")
    problem(town.ask("admin", "DELETE", f"/networks/2/members/{admin}"), 409, "last-network-admin")
    problem(town.ask("admin", "PUT", f"/networks/2/members/{admin}", {"role": "viewer"}), 409, "last-network-admin")
    assert town.ask("hub", "PUT", f"/networks/2/members/{admin}", {"role": "viewer"}).status_code == 204
    problem(town.ask("admin", "GET", "/networks/2/members"), 403, "forbidden")


def test_an_edge_gateway_is_invited_enrolled_and_revoked_and_all_its_keys_with_it(town: Town) -> None:
    face = town.face
    made = town.ask("admin", "POST", "/gateways", {"name": "new-01", "network": 2}).json()
    assert made["command"].startswith("sudo harmattan-edge enrol http")
    assert made["command"].endswith(made["token"])
    problem(town.ask("admin", "POST", "/gateways", {"name": "new-01", "network": 2}), 409, "name-taken")
    credential = face.http.post(f"{API}/enrol", json={"token": made["token"]}).json()
    assert "new-01" in broker.users(face.settings.broker)
    problem(town.ask("admin", "POST", "/gateways/new-01/invite", {}), 409, "gateway-state")
    key = town.ask("admin", "POST", "/gateways/new-01/keys", {"name": "yard"}).json()["key"]
    assert town.ask("admin", "POST", "/gateways/new-01/revoke", {}).status_code == 204
    assert "new-01" not in broker.users(face.settings.broker)
    for one in (key, credential["key"]):
        problem(face.http.post(f"{API}/ingest", json=[], headers={"X-API-Key": one}), 401, "unauthorized")
    again = town.ask("admin", "POST", "/gateways/new-01/invite", {}).json()
    assert face.http.post(f"{API}/enrol", json={"token": again["token"]}).status_code == 200
