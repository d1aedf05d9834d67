"""Who is behind a token or a key, as the database knows them this second."""

from typing import Any

import pytest
from sqlalchemy import insert, select, update

from hub.auth.callers import KEPT_S, Callers, Credential, Scope, key_hash
from hub.auth.secrets import hub_secret
from hub.auth.tokens import Caller, NetworkRole, Role
from hub.database import tables
from hub.fleet.enrolment import invite, note_keys, redeem, revoke
from hub.problems import Problem
from tests.hub.face import Face, now_ms, problem
from tests.servers import wait_until

ME = "/api/v1/gateways"
"""For admins of the hub or of a network; 403 for anybody else that is known."""


def add_key(face: Face, digit: str, scopes: str, **whose: Any) -> str:
    key = digit * 64
    values = {"hash": key_hash(key), "hint": digit * 4, "name": "test", "scopes": scopes, "created_ms": now_ms()}
    with face.database.write() as connection:
        connection.execute(insert(tables.api_key).values(values | whose))
    return key


def change(face: Face, table: Any, **values: Any) -> None:
    with face.database.write() as connection:
        connection.execute(update(table).values(**values))


def test_a_sessions_token_has_the_rights_its_account_has_now(face: Face) -> None:
    token = face.person("ada@example.org", networks={1: NetworkRole.ADMIN})
    known = face.app.state.callers.of(Credential("token", token))
    assert known.caller == Caller("ada", Role.AUTHENTICATED, {1: NetworkRole.ADMIN}, account=1, session=known.caller.session)
    assert face.get(ME, token).status_code == 200
    change(face, tables.membership, role="viewer")
    wait_until(lambda: face.get(ME, token).status_code == 403, "the lower role", KEPT_S + 1)


@pytest.mark.parametrize(
    ("table", "change_to"),
    [(tables.session, {"ended_ms": 1}), (tables.session, {"expires_ms": 1}), (tables.account, {"disabled_ms": 1})],
)
def test_a_token_stops_within_a_second_of_its_sessions_or_accounts_end(face: Face, table: Any, change_to: dict[str, int]) -> None:
    token = face.person("ada@example.org", role=Role.ADMIN)
    assert face.get(ME, token).status_code == 200
    change(face, table, **change_to)
    wait_until(lambda: face.get(ME, token).status_code == 401, "the end", KEPT_S + 1)
    assert "session has ended" in problem(face.get("/api/v1/stations", token), 401, "unauthorized")["detail"]


def test_a_token_of_one_account_with_the_session_of_another_is_refused(face: Face) -> None:
    face.person("ada@example.org", role=Role.ADMIN)
    face.person("eve@example.org")
    with face.database.read() as connection:
        ada = connection.execute(select(tables.session.c.id).where(tables.session.c.account == 1)).scalar_one()
    mixed = face.app.state.tokens.sign(Caller("eve", Role.ADMIN, account=2, session=ada))
    problem(face.get(ME, mixed), 401, "unauthorized")


def test_a_key_reaches_what_its_scopes_say(face: Face) -> None:
    face.person("ada@example.org", role=Role.ADMIN)
    reads, writes, ingests = (add_key(face, digit, scopes, account=1) for digit, scopes in zip("abc", Scope, strict=True))
    may_read = [face.get(ME, headers={"X-API-Key": key}).status_code for key in (reads, writes, ingests)]
    assert may_read == [200, 200, 403]
    for path, key, allowed in (("/enrol", reads, 403), ("/enrol", ingests, 403), ("/enrol", writes, 422)):
        assert face.http.post(f"/api/v1{path}", json={}, headers={"X-API-Key": key}).status_code == allowed
    assert problem(face.get(ME, headers={"X-API-Key": ingests}), 403, "forbidden")["detail"] == "this key's scopes are: ingest"


def test_a_key_that_is_no_longer_good_is_refused_everywhere(face: Face) -> None:
    face.person("ada@example.org", role=Role.ADMIN)
    over = add_key(face, "a", "read", account=1, expires_ms=now_ms() - 1)
    revoked = add_key(face, "b", "read", account=1, revoked_ms=1)
    for key in (over, revoked, "c" * 64, "A" * 64, "short", ""):
        problem(face.get("/api/v1/stations", headers={"X-API-Key": key}), 401, "unauthorized")
    change(face, tables.account, disabled_ms=1)
    good = add_key(face, "d", "read", account=1)
    problem(face.get("/api/v1/stations", headers={"X-API-Key": good}), 401, "unauthorized")


def test_two_credentials_at_once_are_refused(face: Face) -> None:
    face.person("ada@example.org")
    key = add_key(face, "a", "read", account=1)
    problem(face.get("/api/v1/stations", face.token(), headers={"X-API-Key": key}), 401, "unauthorized")


def test_a_gateways_credential_key_names_it_until_it_is_revoked(face: Face) -> None:
    secret = hub_secret(face.settings.data_dir)
    token = invite(face.database, "unilag-01")
    credential = redeem(face.database, token, secret=secret, broker_dir=face.settings.broker)
    callers = Callers(face.database, face.app.state.tokens)
    known = callers.of_key(credential.key)
    assert (known.caller.name, known.caller.gateway, known.scopes) == ("unilag-01", 1, frozenset({Scope.INGEST}))
    problem(face.get("/api/v1/stations", headers={"X-API-Key": credential.key}), 403, "forbidden")
    revoke(face.database, "unilag-01", broker_dir=face.settings.broker)
    callers.forget()
    with pytest.raises(Problem, match="unknown, revoked"):
        callers.of_key(credential.key)


def test_a_gateway_that_was_enrolled_by_an_older_hub_gets_its_keys_hash_at_start(face: Face) -> None:
    secret = hub_secret(face.settings.data_dir)
    credential = redeem(face.database, invite(face.database, "unilag-01"), secret=secret, broker_dir=face.settings.broker)
    change(face, tables.gateway, key_hash=None)
    assert (note_keys(face.database, secret), note_keys(face.database, secret)) == (1, 0)
    assert face.app.state.callers.of_key(credential.key).caller.gateway == 1


def test_a_keys_last_use_is_noted_once_an_hour(face: Face) -> None:
    face.person("ada@example.org")
    key = add_key(face, "a", "read", account=1)
    assert face.get("/api/v1/stations", headers={"X-API-Key": key}).status_code == 200

    def used() -> Any:
        with face.database.read() as connection:
            return connection.execute(select(tables.api_key.c.used_ms)).scalar_one()

    first = used()
    assert now_ms() - first < 10_000
    face.app.state.callers.forget()
    assert face.get("/api/v1/stations", headers={"X-API-Key": key}).status_code == 200
    assert used() == first
