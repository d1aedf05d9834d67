"""Signing in, staying in, and out again: over real HTTP."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyotp
import pytest
from sqlalchemy import select, update

from hub.auth import totp
from hub.auth.cleaning import KEPT_MS, clean
from hub.auth.passwords import Hasher
from hub.auth.secrets import hub_secret
from hub.auth.sessions import DAY_MS, IDLE_MS, LIFE_MS, TWICE_MS
from hub.auth.throttle import ONE_ACCOUNT_FROM_ALL, ONE_ACCOUNT_FROM_ONE, Throttle, network_of
from hub.cache import open_limits
from hub.database import tables
from hub.problems import Problem
from tests.hub.auth.people import ADA, EVE, OTHER, PHRASE, actions, login, post, refresh, register, signed_in
from tests.hub.face import Face, now_ms, open_face, problem
from tests.servers import wait_until

ME = "/api/v1/auth/me"


def rows(face: Face, table: Any) -> list[Any]:
    with face.database.read() as connection:
        return list(connection.execute(select(table)))


def change(face: Face, table: Any, *which: Any, **values: Any) -> None:
    with face.database.write() as connection:
        connection.execute(update(table).where(*which).values(**values))


def test_a_person_signs_in_renews_and_signs_out(both: Face) -> None:
    assert register(both).json() == {"email": ADA, "name": "Ada", "verification": "none"}
    first = login(both, " ADA@Example.org ")
    assert first.headers["cache-control"] == "no-store"
    assert "set-cookie" not in first.headers
    said = first.json()
    assert (said["token_type"], said["expires_in"], said["account"]["email"]) == ("Bearer", 900, ADA)
    assert both.get(ME, said["access_token"]).json() == said["account"]
    second = refresh(both, said["refresh_token"]).json()
    assert second["refresh_token"] not in (None, said["refresh_token"])
    assert both.get(ME, second["access_token"]).status_code == 200
    assert post(both, "/auth/logout", refresh_token=second["refresh_token"]).status_code == 204
    wait_until(lambda: both.get(ME, second["access_token"]).status_code == 401, "the end", 2)
    problem(refresh(both, second["refresh_token"]), 401, "session-over")
    assert [action for _, action, _ in actions(both)] == ["account.register", "account.login", "session.end"]


def test_unknown_address_wrong_password_and_disabled_account_answer_alike_and_cost_a_hash_each(face: Face) -> None:
    register(face)
    register(face, EVE, OTHER)
    change(face, tables.account, tables.account.c.email == EVE, disabled_ms=1)
    hasher: Hasher = face.app.state.people.hasher
    said = []
    for email, password in (("nobody@example.org", PHRASE), (ADA, "wrong"), (EVE, OTHER)):
        before = hasher.done
        document = problem(login(face, email, password), 401, "login-failed")
        said.append({name: value for name, value in document.items() if name != "instance"})
        assert hasher.done - before == 1
    assert said[0] == said[1] == said[2]


def test_the_database_and_the_audit_log_hold_no_token_and_no_password(face: Face) -> None:
    said = signed_in(face)
    with face.database.read() as connection:
        raw = b"".join(repr(connection.execute(select(table)).all()).encode() for table in tables.metadata.sorted_tables)
    raw += b"".join(file.read_bytes() for file in face.settings.data_dir.glob("hub.db*"))
    assert ADA.encode() in raw
    assert not any(secret.encode() in raw for secret in (PHRASE, said["refresh_token"], said["access_token"]))


def test_a_refresh_asked_twice_at_once_is_served_alike(both: Face) -> None:
    token = signed_in(both)["refresh_token"]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: refresh(both, token), range(4)))
    assert {answer.status_code for answer in answers} == {200}
    (successor,) = {answer.json()["refresh_token"] for answer in answers}
    assert len(rows(both, tables.refresh)) == 2
    assert refresh(both, successor).status_code == 200
    assert refresh(both, token).json()["refresh_token"] == successor, "a lost answer, asked for again within 10 s"


def test_a_refresh_token_that_comes_back_late_ends_its_session(both: Face) -> None:
    stolen = signed_in(both)["refresh_token"]
    heir = refresh(both, stolen).json()
    change(both, tables.refresh, tables.refresh.c.used_ms.is_not(None), used_ms=now_ms() - TWICE_MS - 1)
    problem(refresh(both, stolen), 401, "session-over")
    problem(refresh(both, heir["refresh_token"]), 401, "session-over")
    wait_until(lambda: both.get(ME, heir["access_token"]).status_code == 401, "the family's end", 2)
    assert actions(both)[-1][1] == "session.end"
    assert rows(both, tables.session)[0].ended_why == "refresh reused"
    assert login(both).status_code == 200


def test_a_session_ends_when_idle_and_at_its_age(face: Face) -> None:
    token = signed_in(face)["refresh_token"]
    session = rows(face, tables.session)[0]
    assert session.expires_ms - session.created_ms == IDLE_MS
    change(face, tables.session, created_ms=now_ms() - LIFE_MS + DAY_MS)
    token = refresh(face, token).json()["refresh_token"]
    assert rows(face, tables.session)[0].expires_ms - now_ms() <= DAY_MS
    change(face, tables.session, expires_ms=now_ms())
    problem(refresh(face, token), 401, "session-over")


@pytest.mark.parametrize("token", ["x", "é" * 40, "\ud800", "a\0b", "A" * 43])
def test_a_refresh_token_of_nobody_is_refused(face: Face, token: str) -> None:

    escaped = "".join(f"\\u{int(part, 16):04x}" for part in token.encode("utf-16-be", "surrogatepass").hex(" ", 2).split())
    content = f'{{"refresh_token": "{escaped}"}}'.encode()
    answer = face.http.post("/api/v1/auth/refresh", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code in (401, 422), answer.text
    problem(post(face, "/auth/refresh"), 401, "session-over")


OWN = {"Sec-Fetch-Site": "same-origin"}


def test_a_browsers_refresh_token_is_in_a_cookie_that_no_script_can_read(face: Face) -> None:
    register(face)
    answer = login(face, cookie=True, headers=OWN)
    assert answer.json()["refresh_token"] is None
    name, _, rest = answer.headers["set-cookie"].partition("=")
    attributes = {part.strip().lower() for part in rest.split(";")[1:]}
    assert name == "harmattan_refresh"
    assert {"httponly", "samesite=strict", "path=/api/v1/auth"} < attributes
    assert any(part.startswith("max-age=12") for part in attributes), "14 days, less what the request took"
    assert "secure" not in attributes, "plain HTTP to loopback"
    renewed = face.http.post("/api/v1/auth/refresh", headers=OWN)
    assert (renewed.status_code, renewed.json()["refresh_token"]) == (200, None)
    assert renewed.headers["set-cookie"] != answer.headers["set-cookie"]
    out = face.http.post("/api/v1/auth/logout", headers={"Origin": face.url})
    assert out.status_code == 204
    assert "Max-Age=0" in out.headers["set-cookie"]
    problem(face.http.post("/api/v1/auth/refresh", headers=OWN), 401, "session-over")


def test_a_cookie_is_secure_wherever_the_hub_is_not_asked_on_its_own_machine(face: Face) -> None:
    register(face)
    answer = login(face, cookie=True, headers=OWN | {"Host": "hub.example.org"})
    assert "; Secure" in answer.headers["set-cookie"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "https://other.example.org"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {},
    ],
)
def test_another_sites_page_cannot_use_the_cookie_nor_set_one(migrated: Path, tmp_path: Path, headers: dict[str, str]) -> None:
    with open_face(migrated, tmp_path, cors_origins=("https://evil.example",)) as face:
        register(face)
        problem(login(face, cookie=True, headers=headers), 403, "cross-site")
        assert login(face, cookie=True, headers=OWN).status_code == 200
        for path in ("refresh", "logout"):
            answer = face.http.post(f"/api/v1/auth/{path}", headers=headers)
            problem(answer, 403, "cross-site")
            assert "access-control-allow-credentials" not in answer.headers
        assert rows(face, tables.session)[0].ended_ms is None


def test_sessions_are_listed_and_ended_by_their_owner_alone(both: Face) -> None:
    mine, other, eve = signed_in(both), signed_in(both), signed_in(both, EVE, OTHER)
    listed = both.get("/api/v1/auth/sessions", mine["access_token"]).json()["results"]
    assert [one["current"] for one in listed].count(True) == 1
    assert all(one["address"] == "127.0.0.1" and one["agent"] for one in listed)
    hers = both.get("/api/v1/auth/sessions", eve["access_token"]).json()["results"][0]["id"]
    another = next(one["id"] for one in listed if not one["current"])

    def delete(path: str, token: str) -> Any:
        return both.http.delete(f"/api/v1/auth/sessions{path}", headers={"Authorization": f"Bearer {token}"})

    for unknown in (hers, "0" * 32, "a%00b", "%F0%9F%8C%8D"):
        problem(delete(f"/{unknown}", mine["access_token"]), 404, "not-found")
    assert delete(f"/{another}", mine["access_token"]).status_code == 204
    wait_until(lambda: both.get(ME, other["access_token"]).status_code == 401, "its end", 2)
    third = signed_in(both)
    assert delete("", third["access_token"]).status_code == 204
    wait_until(lambda: both.get(ME, mine["access_token"]).status_code == 401, "the others' end", 2)
    assert both.get(ME, third["access_token"]).status_code == both.get(ME, eve["access_token"]).status_code == 200


def test_neither_a_key_nor_a_token_of_the_shell_sees_or_ends_sessions(face: Face) -> None:
    assert problem(face.get("/api/v1/auth/sessions", face.token()), 403, "forbidden")["detail"].startswith("sign in for this")
    problem(face.get("/api/v1/auth/sessions"), 401, "unauthorized")


def test_an_account_with_an_app_is_asked_for_a_code_after_the_right_password_only(both: Face) -> None:
    register(both)
    secret = hub_secret(both.settings.data_dir)
    with both.database.write() as connection:
        begun = totp.begin(connection, 1, secret=secret)
        assert begun is not None
        app = pyotp.TOTP(begun.secret)
        codes = totp.confirm(connection, 1, app.at(now_ms() / 1000 - 30), now_ms() - 30_000, secret=secret)
    problem(login(both, password="wrong"), 401, "login-failed")
    problem(login(both), 401, "code-required")
    problem(login(both, code="000000"), 401, "code-required")
    assert login(both, code=app.now()).json()["account"]["totp"] is True
    problem(login(both, code=app.now()), 401, "code-required")
    assert codes is not None
    assert login(both, code=codes[0]).status_code == 200
    problem(login(both, code=codes[0]), 401, "code-required")


def test_a_hash_of_older_parameters_is_made_anew_at_the_next_sign_in(face: Face) -> None:
    old = Hasher(memory_kib=16, passes=1).hash(PHRASE)
    face.person(ADA, password=old)
    assert login(face).status_code == 200
    assert rows(face, tables.account)[0].password != old
    assert login(face).status_code == 200


def test_one_address_has_so_many_tries_at_one_account_and_others_are_served(face: Face) -> None:
    register(face)
    amount, _ = ONE_ACCOUNT_FROM_ONE
    statuses = [login(face, password="wrong").status_code for _ in range(amount + 1)]
    assert statuses == [401] * amount + [429]
    hasher: Hasher = face.app.state.people.hasher
    before = hasher.done
    refused = login(face)
    problem(refused, 429, "too-many-requests")
    assert int(refused.headers["retry-after"]) > 0
    assert hasher.done == before, "refused before a hash"
    register(face, EVE, OTHER)
    assert login(face, EVE, OTHER).status_code == 200


def test_strangers_cannot_lock_an_owner_out_of_the_place_they_sign_in_from(face: Face) -> None:
    register(face)
    assert login(face).status_code == 200
    throttle: Throttle = face.app.state.people.throttle
    for number in range(ONE_ACCOUNT_FROM_ALL[0]):
        throttle.login(ADA, f"192.0.2.{number % 250}")
    assert login(face).status_code == 200
    change(face, tables.session, address="198.51.100.1")
    problem(login(face), 429, "too-many-requests")


def test_an_ipv6_network_counts_as_one_guesser() -> None:
    assert network_of("2001:db8:1:2:3::4") == network_of("2001:db8:1:2:ffff::1") != network_of("2001:db8:1:3::4")
    assert network_of("::ffff:192.0.2.7") == network_of("192.0.2.7") != network_of(None)
    throttle = Throttle(open_limits(""))
    for number in range(ONE_ACCOUNT_FROM_ONE[0]):
        throttle.login(ADA, f"2001:db8::{number:x}")
    with pytest.raises(Problem, match="too many tries"):
        throttle.login(ADA, "2001:db8::ffff")


def test_a_flood_of_sign_ins_leaves_the_hub_to_others(migrated: Path, tmp_path: Path) -> None:
    with open_face(migrated, tmp_path, hasher=Hasher()) as face:
        with ThreadPoolExecutor(50) as pool:
            flood = [pool.submit(login, face, f"guess{number}@example.org", "wrong") for number in range(50)]
            served = [face.get("/api/v1/stations") for _ in range(10)]
            statuses = [one.result().status_code for one in flood]
        assert {answer.status_code for answer in served} == {200}
        assert max(answer.elapsed.total_seconds() for answer in served) < 5
        assert set(statuses) <= {401, 503}
        assert 1 <= face.app.state.people.hasher.done == statuses.count(401)


def test_what_was_over_a_month_ago_is_cleaned_and_the_rest_stays(both: Face) -> None:
    old, live = signed_in(both), signed_in(both)
    ended = select(tables.session.c.id).order_by(tables.session.c.created_ms).limit(1)
    with both.database.read() as connection:
        first = connection.execute(ended).scalar_one()
    change(both, tables.session, tables.session.c.id == first, ended_ms=now_ms() - KEPT_MS - 1)
    assert clean(both.database, now_ms()) == 1
    assert len(rows(both, tables.session)) == len(rows(both, tables.refresh)) == 1
    assert {refresh(both, one["refresh_token"]).status_code for one in (old, live)} == {200, 401}
