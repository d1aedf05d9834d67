"""Accounts: made, proved, changed; passwords changed and reset. Nothing tells a stranger who has one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from hub.auth import setup
from hub.auth.onetime import Purpose
from hub.auth.throttle import LETTERS, REGISTER
from hub.database import tables
from tests.hub.auth.people import ADA, EVE, OTHER, PHRASE, actions, login, post, refresh, register, signed_in
from tests.hub.auth.post_office import PostOffice, post_office
from tests.hub.face import Face, now_ms, open_face, problem
from tests.servers import wait_until

ME = "/api/v1/auth/me"
HUB = "https://hub.example.org"
NEW_PASSWORD, PROOF = "A new password", "Is this your address"


@pytest.fixture
def office() -> Iterator[PostOffice]:
    with post_office() as running:
        yield running


@pytest.fixture
def mailed(office: PostOffice, migrated: Path, tmp_path: Path) -> Iterator[Face]:
    """A face that sends letters."""
    with open_face(migrated, tmp_path, smtp_url=office.url, public_url=HUB) as running:
        yield running


def said(document: Any) -> dict[str, Any]:
    return {name: value for name, value in document.json().items() if name != "instance"}


def test_an_address_in_use_answers_as_a_free_one_does_and_nothing_changes(both: Face) -> None:
    first = register(both)
    hasher = both.app.state.people.hasher
    before = hasher.done
    second = register(both, " ADA@example.org", OTHER, "Ada")
    assert (first.status_code, first.json()) == (second.status_code, second.json())
    assert hasher.done == before + 1
    assert login(both).status_code == 200
    assert login(both, password=OTHER).status_code == 401


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"role": "admin"}, "role"),
        ({"email_verified": True}, "email_verified"),
        ({"verified_ms": 1}, "verified_ms"),
        ({"id": 1}, "id"),
        ({"networks": []}, "networks"),
        ({"password": "short"}, "password"),
        ({"password": "password123"}, "password"),
        ({"password": "x" * 129}, "password"),
        ({"email": "no address"}, "email"),
        ({"email": "a@b\r\nBcc: c@d"}, "email"),
        ({"email": f"{'a' * 300}@example.org"}, "email"),
        ({"name": "a\0b"}, "name"),
        ({"name": " "}, "name"),
        ({"name": "x" * 101}, "name"),
    ],
)
def test_a_field_that_nobody_may_give_or_a_value_that_will_not_do_is_named(
    face: Face, changed: dict[str, Any], field: str
) -> None:
    body = {"email": ADA, "password": PHRASE, "name": "Ada"} | changed
    document = problem(face.http.post("/api/v1/auth/register", json=body), 422, "invalid-request")
    assert [one["name"] for one in document["errors"]] == [field]
    assert str(next(iter(changed.values()))) not in document.get("detail", "") or field != "password"


def test_a_lone_surrogate_is_a_mistake_of_the_asker(face: Face) -> None:
    good = '{"email": "ada@b.org", "password": "dust over nine bridges", "name": "Ada"}'
    for text in ("ada@", "dust", "Ada"):
        body = good.replace(text, f"\\ud800{text}")
        answer = face.http.post("/api/v1/auth/register", content=body, headers={"Content-Type": "application/json"})
        problem(answer, 422, "invalid-request")


def test_a_person_may_change_their_name_and_nothing_else(both: Face) -> None:
    token = signed_in(both)["access_token"]
    bearer = {"Authorization": f"Bearer {token}"}
    assert both.http.patch(ME, json={"name": " Ada B. "}, headers=bearer).json()["name"] == "Ada B."
    for field in ("role", "email", "id", "email_verified", "totp", "networks", "disabled"):
        document = problem(both.http.patch(ME, json={"name": "x", field: "admin"}, headers=bearer), 422, "invalid-request")
        assert document["errors"][0]["name"] == field
    assert both.get(ME, token).json()["role"] == "authenticated"
    problem(both.http.patch(ME, json={"name": "x"}, headers={"Authorization": f"Bearer {both.token()}"}), 403, "forbidden")
    problem(both.get(ME, both.token()), 403, "forbidden")


def test_registration_can_be_closed(migrated: Path, tmp_path: Path) -> None:
    with open_face(migrated, tmp_path, registration="closed") as face:
        problem(register(face), 403, "registration-closed")


def test_one_address_makes_so_many_accounts_an_hour(face: Face) -> None:
    statuses = [register(face, f"p{number}@example.org").status_code for number in range(REGISTER[0] + 1)]
    assert statuses == [201] * REGISTER[0] + [429]


def test_a_changed_password_ends_the_other_sessions(both: Face) -> None:
    mine, other = signed_in(both), signed_in(both)
    token = mine["access_token"]
    problem(post(both, "/auth/password", token, current="wrong", new=OTHER), 401, "login-failed")
    weak = problem(post(both, "/auth/password", token, current=PHRASE, new="harmattan1"), 422, "invalid-request")
    assert weak["errors"][0]["name"] == "new"
    assert post(both, "/auth/password", token, current=PHRASE, new=OTHER).status_code == 204
    assert refresh(both, other["refresh_token"]).status_code == 401
    wait_until(lambda: both.get(ME, other["access_token"]).status_code == 401, "its end", 2)
    assert both.get(ME, token).status_code == 200
    assert (login(both).status_code, login(both, password=OTHER).status_code) == (401, 200)
    problem(post(both, "/auth/password", both.token(), current=OTHER, new=PHRASE), 403, "forbidden")


def test_a_forgotten_password_is_reset_by_the_letters_link_once(mailed: Face, office: PostOffice) -> None:
    session = signed_in(mailed)
    assert said(post(mailed, "/auth/password/forgot", email=ADA)) == said(post(mailed, "/auth/password/forgot", email=EVE))
    token = office.token(ADA, NEW_PASSWORD, "reset")
    problem(post(mailed, "/auth/password/reset", token=token, new="password1"), 422, "invalid-request")
    problem(post(mailed, "/auth/email/verify", token=token), 410, "link-over")
    assert post(mailed, "/auth/password/reset", token=token, new=OTHER).status_code == 204
    used = problem(post(mailed, "/auth/password/reset", token=token, new=PHRASE), 410, "link-over")
    never = problem(post(mailed, "/auth/password/reset", token="x" * 43, new=PHRASE), 410, "link-over")
    assert {**used, "instance": 0} == {**never, "instance": 0}
    assert refresh(mailed, session["refresh_token"]).status_code == 401
    assert login(mailed, password=OTHER).json()["account"]["email_verified"] is True
    assert EVE not in [letter["to"] for letter in office.letters]
    wait_until(lambda: "Your password was changed" in office.subjects(ADA), "word of it", 5)


def test_what_a_squatter_left_in_an_account_goes_with_the_owners_reset(mailed: Face, office: PostOffice) -> None:
    register(mailed)
    values = {"hash": "h", "hint": "h", "name": "h", "scopes": "read", "created_ms": 1, "account": 1}
    with mailed.database.write() as connection:
        connection.execute(insert(tables.api_key).values(values))
        connection.execute(update(tables.account).values(totp="sealed", totp_ms=1))
    post(mailed, "/auth/password/forgot", email=ADA)
    token = office.token(ADA, NEW_PASSWORD, "reset")
    assert post(mailed, "/auth/password/reset", token=token, new=OTHER).status_code == 204
    assert login(mailed, password=OTHER).json()["account"]["totp"] is False
    with mailed.database.read() as connection:
        assert connection.execute(select(tables.api_key)).all() == []


def test_a_link_is_over_after_its_time_and_after_a_newer_one(mailed: Face, office: PostOffice) -> None:
    register(mailed)
    post(mailed, "/auth/password/forgot", email=ADA)
    first = office.token(ADA, NEW_PASSWORD, "reset")
    post(mailed, "/auth/password/forgot", email=ADA)
    wait_until(lambda: office.subjects(ADA).count(NEW_PASSWORD) == 2, "the second letter", 5)
    second = office.token(ADA, NEW_PASSWORD, "reset")
    problem(post(mailed, "/auth/password/reset", token=first, new=OTHER), 410, "link-over")
    with mailed.database.write() as connection:
        connection.execute(update(tables.one_time).values(expires_ms=now_ms()))
    problem(post(mailed, "/auth/password/reset", token=second, new=OTHER), 410, "link-over")


def test_an_address_is_proved_by_the_letters_link(mailed: Face, office: PostOffice) -> None:
    assert register(mailed).json()["verification"] == "sent"
    first = office.token(ADA, PROOF, "verify")
    token = signed_in(mailed)["access_token"]
    assert mailed.get(ME, token).json()["email_verified"] is False
    assert post(mailed, "/auth/email/send", token).status_code == 202
    wait_until(lambda: len(office.subjects(ADA)) == 2, "the second letter", 5)
    problem(post(mailed, "/auth/email/verify", token=first), 410, "link-over")
    second = office.token(ADA, PROOF, "verify")
    assert post(mailed, "/auth/email/verify", token=second).status_code == 204
    problem(post(mailed, "/auth/email/verify", token=second), 410, "link-over")
    assert mailed.get(ME, token).json()["email_verified"] is True


def test_who_has_not_shown_that_an_address_is_theirs_becomes_no_member_by_it(mailed: Face, office: PostOffice) -> None:
    register(mailed)
    members = ("/networks/1/members", mailed.token())
    problem(post(mailed, *members, email=ADA, role="viewer"), 404, "not-found")
    assert post(mailed, "/auth/email/verify", token=office.token(ADA, PROOF, "verify")).status_code == 204
    assert post(mailed, *members, email=ADA, role="viewer").status_code == 201


def test_whoever_has_an_account_hears_of_a_second_try_and_gets_no_flood_of_letters(mailed: Face, office: PostOffice) -> None:
    for _ in range(LETTERS[0] + 3):
        assert register(mailed).json()["verification"] == "sent"
    wait_until(lambda: "You have an account already" in office.subjects(ADA), "word of it", 5)
    signed_in(mailed, EVE, OTHER)
    office.token(EVE, PROOF, "verify")
    assert len(office.subjects(ADA)) == LETTERS[0]


def test_a_hub_without_mail_says_so_and_an_admin_hands_out_the_link(face: Face) -> None:
    assert post(face, "/auth/password/forgot", email=ADA).json() == {"mail": False}
    problem(post(face, "/auth/email/send", signed_in(face)["access_token"]), 409, "no-mail")


def test_the_first_admin_is_made_with_the_token_of_the_first_start_once(both: Face) -> None:
    data_dir = both.settings.data_dir
    token = setup.offer(both.database, data_dir, now_ms())
    assert token is not None
    assert token == setup.offer(both.database, data_dir, now_ms()) == (data_dir / setup.FILE).read_text()
    assert (data_dir / setup.FILE).stat().st_mode & 0o777 == 0o600
    body: dict[str, Any] = {"email": ADA, "password": PHRASE, "name": "Ada"}
    problem(post(both, "/auth/setup", token="x" * 43, **body), 410, "link-over")
    problem(post(both, "/auth/setup", token=token, **body | {"password": "harmattan1"}), 422, "invalid-request")
    made = post(both, "/auth/setup", token=token, **body)
    assert (made.status_code, made.json()["role"]) == (201, "admin")
    problem(post(both, "/auth/setup", token=token, **body | {"email": EVE}), 410, "link-over")
    assert not (data_dir / setup.FILE).exists()
    assert setup.offer(both.database, data_dir, now_ms()) is None
    assert both.get("/api/v1/users", login(both).json()["access_token"]).status_code == 200
    assert ("account:1", "account.setup", "account:1") in actions(both)


def test_a_hub_whose_admins_are_gone_offers_another_token(face: Face) -> None:
    data_dir = face.settings.data_dir
    first = setup.offer(face.database, data_dir, now_ms())
    post(face, "/auth/setup", token=first, email=ADA, password=PHRASE, name="Ada")
    with face.database.write() as connection:
        connection.execute(update(tables.account).values(disabled_ms=1))
    second = setup.offer(face.database, data_dir, now_ms())
    assert second not in (None, first)
    assert post(face, "/auth/setup", token=second, email=EVE, password=PHRASE, name="Eve").status_code == 201


def test_one_time_tokens_are_kept_as_hashes(mailed: Face, office: PostOffice) -> None:
    register(mailed)
    token = office.token(ADA, PROOF, "verify")
    with mailed.database.read() as connection:
        row = connection.execute(select(tables.one_time)).one()
    assert (row.kind, len(row.hash)) == (Purpose.VERIFY.value, 64)
    assert token not in str(row)
