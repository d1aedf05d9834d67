"""Words in, requests of a person out: what the tests of /auth and /users have in common."""

from typing import Any

import httpx2
from sqlalchemy import select

from hub.database import tables
from tests.hub.face import Face

PHRASE, OTHER = "dust over nine bridges", "seven rivers under haze"
ADA, EVE = "ada@example.org", "eve@example.org"


def post(
    face: Face, path: str, bearer: str | None = None, /, headers: dict[str, str] | None = None, **body: Any
) -> httpx2.Response:
    sent = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    return face.http.post(f"/api/v1{path}", json=body, headers=sent | (headers or {}))


def register(face: Face, email: str = ADA, password: str = PHRASE, name: str = "Ada") -> httpx2.Response:
    return post(face, "/auth/register", email=email, password=password, name=name)


def login(
    face: Face, email: str = ADA, password: str = PHRASE, headers: dict[str, str] | None = None, **more: Any
) -> httpx2.Response:
    return post(face, "/auth/login", headers=headers, email=email, password=password, **more)


def signed_in(face: Face, email: str = ADA, password: str = PHRASE) -> dict[str, Any]:
    """A session of a person, who is registered first where need be."""
    answer = login(face, email, password)
    if answer.status_code == 401:
        assert register(face, email, password, email.partition("@")[0]).status_code == 201
        answer = login(face, email, password)
    assert answer.status_code == 200, answer.text
    said: dict[str, Any] = answer.json()
    return said


def refresh(face: Face, token: str) -> httpx2.Response:
    return post(face, "/auth/refresh", refresh_token=token)


def actions(face: Face) -> list[tuple[str, str, str]]:
    """(actor, action, object) of the audit log, the oldest first."""
    row = tables.audit.c
    with face.database.read() as connection:
        return [(a, b, c) for a, b, c in connection.execute(select(row.actor, row.action, row.object).order_by(row.id))]
