"""What somebody tries who wants to be somebody else, beside guessing and forging: the ways around a password."""

from base64 import b32decode
from typing import Any

import pyotp
import pytest
from sqlalchemy import select, update

from hub.app import document
from hub.database import tables
from tests.hub.auth.people import ADA, OTHER, PHRASE, login, post, register, signed_in
from tests.hub.face import Face, face, migrated, now_ms, problem
from tests.servers import wait_until

__all__ = ["face", "migrated"]
YEAR_MS = 365 * 86_400_000


def verified(face: Face) -> None:
    with face.database.write() as connection:
        connection.execute(update(tables.account).values(verified_ms=now_ms()))


def test_a_new_password_by_a_link_leaves_the_second_factor_on(face: Face) -> None:
    """The link shows whose the address is, and neither it nor the admin who handed it out gets past the app."""
    token = signed_in(face)["access_token"]
    verified(face)
    app = pyotp.TOTP(post(face, "/auth/totp", token).json()["secret"])
    assert post(face, "/auth/totp/confirm", token, password=PHRASE, code=app.now()).status_code == 200
    ada = face.get("/api/v1/auth/me", token).json()["id"]
    link = post(face, f"/users/{ada}/reset", face.token()).json()["link"]
    assert post(face, "/auth/password/reset", token=link.partition("token=")[2], new=OTHER).status_code == 204
    problem(login(face, password=OTHER), 401, "code-required")
    problem(login(face, password=PHRASE), 401, "login-failed")


def test_a_password_of_last_year_is_as_good_as_one_of_today(face: Face) -> None:
    register(face)
    with face.database.write() as connection:
        connection.execute(update(tables.account).values(password_ms=now_ms() - YEAR_MS, created_ms=now_ms() - YEAR_MS))
    assert login(face).status_code == 200


def test_nobody_is_asked_for_hints_or_secret_questions() -> None:
    schemas: Any = document()["components"]
    fields = {name.lower() for schema in schemas["schemas"].values() for name in schema.get("properties", {})}
    assert not {name for name in fields for word in ("question", "reminder", "mother") if word in name}
    assert "hint" in fields  # of an API key, its first digits; of nothing else:
    assert [name for name, schema in schemas["schemas"].items() if "hint" in schema.get("properties", {})] in (
        ["ApiKey", "NewKey"],
        ["NewKey", "ApiKey"],
    )


@pytest.mark.parametrize("field", ["email", "role", "totp", "password"])
def test_what_signs_a_person_in_is_not_changed_by_a_session_alone(face: Face, field: str) -> None:
    token = signed_in(face)["access_token"]
    answer = face.http.patch("/api/v1/auth/me", json={"name": "Ada", field: "x"}, headers={"Authorization": f"Bearer {token}"})
    assert problem(answer, 422, "invalid-request")["errors"][0]["name"] == field
    problem(post(face, "/auth/password", token, current="not hers", new=OTHER), 401, "login-failed")


def test_each_sign_in_is_a_session_of_its_own_and_a_deleted_persons_are_over(face: Face) -> None:
    first, second = signed_in(face), signed_in(face)
    assert len({first["access_token"], second["access_token"], first["refresh_token"], second["refresh_token"]}) == 4
    sessions = face.get("/api/v1/auth/sessions", first["access_token"]).json()["results"]
    assert [one["current"] for one in sessions].count(True) == 1
    number = face.get("/api/v1/auth/me", first["access_token"]).json()["id"]
    face.http.delete(f"/api/v1/users/{number}", headers={"Authorization": f"Bearer {face.token()}"})
    for session in (first, second):
        wait_until(lambda: face.get("/api/v1/auth/me", session["access_token"]).status_code == 401, "its end", 3)  # noqa: B023
        assert post(face, "/auth/refresh", refresh_token=session["refresh_token"]).status_code == 401
    problem(login(face, ADA), 401, "login-failed")


def test_seeds_and_recovery_codes_are_long_and_never_the_same(face: Face) -> None:
    """160 bits in a seed, 120 in a recovery code, from the system's source; the database has a recovery code's hash alone."""
    seeds, codes = set[str](), set[str]()
    for email in (ADA, "eve@example.org"):
        token = signed_in(face, email)["access_token"]
        seed = post(face, "/auth/totp", token).json()["secret"]
        codes |= set(
            post(face, "/auth/totp/confirm", token, password=PHRASE, code=pyotp.TOTP(seed).now()).json()["recovery_codes"]
        )
        seeds.add(seed)
    assert (len(seeds), len(codes)) == (2, 20)
    assert all(len(b32decode(seed)) == 20 for seed in seeds)
    assert all(len(code.replace("-", "")) * 5 == 120 for code in codes)
    with face.database.read() as connection:
        kept = connection.execute(select(tables.recovery_code.c.hash)).scalars().all()
    assert all(len(bytes.fromhex(one)) == 32 for one in kept)
    assert not codes & set(kept)
