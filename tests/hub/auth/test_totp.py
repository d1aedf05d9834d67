"""Codes of an authenticator app: sealed at rest, on after a first one, each good once; recovery codes for when it is lost."""

import re
from typing import Any
from xml.etree import ElementTree

import pyotp
import pytest
from sqlalchemy import insert, select, update

from hub.auth import totp
from hub.auth.passwords import Hasher
from hub.auth.totp import STEP_MS
from hub.database import tables
from hub.database.engine import Database
from tests.hub.face import Face, problem

HUB, NOW = b"\1" * 32, 1_795_521_600_000
PASSWORD = "dust over nine bridges"


@pytest.fixture
def people(database: Database) -> Database:
    with database.write() as connection:
        for number in (1, 2):
            person = {"id": number, "email": f"{number}@example.org", "name": "x", "role": "authenticated", "created_ms": 0}
            connection.execute(insert(tables.account).values(person))
    return database


class On:
    """An account whose codes are on; `code` is what the app shows."""

    def __init__(self, database: Database, owner: int = 1) -> None:
        self.database = database
        self.owner = owner
        with database.write() as connection:
            begun = totp.begin(connection, owner, secret=HUB)
            assert begun is not None
            self.app = pyotp.TOTP(begun.secret)
            codes = totp.confirm(connection, owner, self.code(NOW - 10 * STEP_MS), NOW - 10 * STEP_MS, secret=HUB)
        assert codes is not None
        self.recovery = codes

    def code(self, at_ms: int) -> str:
        return self.app.at(at_ms // 1000)

    def verify(self, code: str, at_ms: int = NOW, secret: bytes = HUB) -> bool:
        with self.database.write() as connection:
            return totp.verify(connection, self.owner, code, at_ms, secret=secret)


def test_a_code_is_good_once(people: Database) -> None:
    on = On(people)
    assert on.verify(on.code(NOW))
    assert not on.verify(on.code(NOW))
    assert on.verify(on.code(NOW + STEP_MS), NOW + STEP_MS)


def test_a_clock_may_be_half_a_minute_off_and_no_more(people: Database) -> None:
    on = On(people)
    assert not on.verify(on.code(NOW - 2 * STEP_MS))
    assert not on.verify(on.code(NOW + 2 * STEP_MS))
    assert on.verify(on.code(NOW - STEP_MS))
    assert on.verify(on.code(NOW + STEP_MS))
    assert not on.verify(on.code(NOW))  # an earlier step than one that was used
    assert on.verify(" " + on.code(NOW + 9 * STEP_MS)[:3] + " " + on.code(NOW + 9 * STEP_MS)[3:], NOW + 9 * STEP_MS)


def test_the_code_that_confirmed_signs_nobody_in(people: Database) -> None:
    on = On(people)
    then = NOW - 10 * STEP_MS
    assert not on.verify(on.code(then), then)


def test_before_it_is_confirmed_nothing_is_asked_for_and_no_code_is_taken(people: Database) -> None:
    with people.write() as connection:
        begun = totp.begin(connection, 1, secret=HUB)
        assert begun is not None
        code = pyotp.TOTP(begun.secret).at(NOW // 1000)
        assert not totp.verify(connection, 1, code, NOW, secret=HUB)
        assert totp.confirm(connection, 1, "000000" if code != "000000" else "000001", NOW, secret=HUB) is None
        assert totp.confirm(connection, 2, code, NOW, secret=HUB) is None
        assert totp.confirm(connection, 1, code, NOW, secret=HUB)
        assert totp.confirm(connection, 1, pyotp.TOTP(begun.secret).at(NOW // 1000 + 60), NOW + 60_000, secret=HUB) is None
        assert totp.begin(connection, 1, secret=HUB) is None


def test_each_recovery_code_is_good_once_however_it_is_typed(people: Database) -> None:
    on = On(people)
    assert len(set(on.recovery)) == 10
    assert all(re.fullmatch(r"[a-z2-7]{6}(-[a-z2-7]{6}){3}", code) for code in on.recovery)
    assert on.verify(on.recovery[0])
    assert not on.verify(on.recovery[0])
    assert on.verify(on.recovery[1].upper().replace("-", " "))
    assert not on.verify(on.recovery[1])
    assert not On(people, 2).verify(on.recovery[2])
    with people.read() as connection:
        kept = connection.execute(select(tables.recovery_code.c.hash).where(tables.recovery_code.c.account == 1)).scalars().all()
    assert len(kept) == 10
    assert not any(code.replace("-", "") in str(kept) for code in on.recovery)


@pytest.mark.parametrize("code", ["", "12345", "1234567", "abcdef", "１２３４５６", "-1", "\0", "\ud800", "0" * 40])
def test_what_is_no_code_is_refused(sqlite_database: Database, code: str) -> None:
    with sqlite_database.write() as connection:
        person = {"id": 1, "email": "1@example.org", "name": "x", "role": "authenticated", "created_ms": 0}
        connection.execute(insert(tables.account).values(person))
    assert not On(sqlite_database).verify(code)


def test_the_database_alone_opens_no_secret_and_a_moved_one_opens_nothing(
    people: Database, caplog: pytest.LogCaptureFixture
) -> None:
    on, other = On(people), On(people, 2)
    with people.read() as connection:
        sealed = {row.id: row.totp for row in connection.execute(select(tables.account))}
    assert on.app.secret not in str(sealed)
    assert not on.verify(on.code(NOW), secret=b"\2" * 32)
    assert "cannot be opened" in caplog.text
    with people.write() as connection:
        connection.execute(update(tables.account).where(tables.account.c.id == 2).values(totp=sealed[1]))
    assert not other.verify(on.code(NOW))
    assert on.verify(on.code(NOW))
    assert other.verify(other.recovery[0])  # a lost hub secret locks nobody out


def test_removed_it_leaves_neither_secret_nor_codes(people: Database) -> None:
    on = On(people)
    with people.write() as connection:
        totp.remove(connection, 1)
    assert not on.verify(on.code(NOW))
    assert not on.verify(on.recovery[0])
    On(people)


@pytest.fixture
def ada(face: Face) -> "Person":
    return Person(face)


class Person:
    """Somebody signed in at a hub."""

    def __init__(self, face: Face) -> None:
        self.face = face
        self.token = face.person("ada@example.org", password=Hasher(memory_kib=8, passes=1).hash(PASSWORD))

    def post(self, path: str, **body: Any) -> Any:
        header = {"Authorization": f"Bearer {self.token}"}
        return self.face.http.post(f"/api/v1/auth/{path}", json=body or None, headers=header)

    def begun(self) -> pyotp.TOTP:
        answer = self.post("totp")
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
        said = answer.json()
        assert said["uri"] == f"otpauth://totp/Harmattan:ada%40example.org?secret={said['secret']}&issuer=Harmattan"
        picture = ElementTree.fromstring(said["qr"])  # noqa: S314  # our own answer
        assert picture.tag == "svg"
        assert not {"style", "script", "image"} & {part.tag for part in picture.iter()}
        assert not any(name in ("style", "href") or name.startswith("on") for part in picture.iter() for name in part.attrib)
        return pyotp.TOTP(said["secret"])


def test_a_person_sets_an_app_up_signs_in_with_it_and_removes_it(ada: Person) -> None:
    app = ada.begun()
    app = ada.begun()  # begun anew: the first secret is gone
    wrong = "000000" if app.now() != "000000" else "000001"
    problem(ada.post("totp/confirm", password=PASSWORD, code=wrong), 422, "invalid-request")
    problem(ada.post("totp/confirm", password="another", code=app.now()), 401, "login-failed")
    said = ada.post("totp/confirm", password=PASSWORD, code=app.now())
    codes = said.json()["recovery_codes"]
    assert (len(codes), said.headers["cache-control"]) == (10, "no-store")
    problem(ada.post("totp"), 409, "totp-on")
    login = {"email": "ada@example.org", "password": PASSWORD}
    problem(ada.post("login", **login), 401, "code-required")
    assert ada.post("login", **login, code=codes[0]).json()["account"]["totp"] is True
    problem(ada.post("login", **login, code=codes[0]), 401, "code-required")
    problem(ada.post("totp/remove", password="another", code=codes[1]), 401, "login-failed")
    problem(ada.post("totp/remove", password=PASSWORD, code="1"), 401, "code-required")
    assert ada.post("totp/remove", password=PASSWORD, code=codes[1]).status_code == 204
    assert ada.post("login", **login).status_code == 200
    with ada.face.database.read() as connection:
        actions = connection.execute(select(tables.audit.c.action).order_by(tables.audit.c.id)).scalars().all()
        details = str(connection.execute(select(tables.audit.c.detail)).scalars().all())
    assert [action for action in actions if action.startswith("totp")] == [
        "totp.begin",
        "totp.begin",
        "totp.confirm",
        "totp.remove",
    ]
    assert app.secret not in details


def test_a_guesser_who_is_signed_in_is_stopped(ada: Person) -> None:
    app = ada.begun()
    assert ada.post("totp/confirm", password=PASSWORD, code=app.now()).status_code == 200
    answers = [ada.post("totp/remove", password="another", code="000000").status_code for _ in range(25)]
    assert answers[0] == 401
    assert answers[-1] == 429


def test_neither_a_key_nor_a_token_of_the_shell_sets_an_app_up(ada: Person) -> None:
    key = ada.post("keys", name="k", scopes=["write"]).json()["key"]
    for path, body in (
        ("totp", None),
        ("totp/confirm", {"password": "x", "code": "1"}),
        ("totp/remove", {"password": "x", "code": "1"}),
    ):
        problem(ada.face.http.post(f"/api/v1/auth/{path}", json=body, headers={"X-API-Key": key}), 403, "forbidden")
        shell = {"Authorization": f"Bearer {ada.face.token()}"}
        problem(ada.face.http.post(f"/api/v1/auth/{path}", json=body, headers=shell), 403, "forbidden")
        problem(ada.face.http.post(f"/api/v1/auth/{path}", json=body), 401, "unauthorized")
