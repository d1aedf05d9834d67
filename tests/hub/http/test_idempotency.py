"""A POST with an Idempotency-Key, repeated: done once, answered alike; and keys that are misused or whose first try died."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
from fastapi import APIRouter, Depends
from pydantic import BaseModel
from sqlalchemy import insert, select, update

from hub.answers import Json
from hub.auth.guard import Allow, Guarded, Policy
from hub.database.tables import idempotency as table
from hub.http.exchange import Deadlines
from hub.http.idempotency import KEPT_MS, RUN_MS, Store
from hub.http.routing import declared, templates
from hub.problems import INTERNAL, INVALID, Problem
from hub.terms import Idempotent
from tests.hub.face import Face, now_ms, open_face, problem
from tests.servers import wait_until


class Order(BaseModel):
    what: str


class Kitchen:
    """A route that does something each time it runs."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.go_on = threading.Event()
        self.go_on.set()
        self.router = APIRouter(route_class=Guarded)
        self.router.add_api_route(
            "/orders", self.order, methods=["POST"], dependencies=[Depends(Allow(Policy.PUBLIC)), Depends(Idempotent())]
        )

    def order(self, given: Order) -> Json:
        self.made.append(given.what)
        self.go_on.wait(10)
        if given.what == "nothing":
            raise Problem(INVALID, "nothing cannot be ordered")
        if given.what == "fire":
            raise Problem(INTERNAL)
        return Json({"no": len(self.made), "what": given.what}, 201, headers={"Location": f"/orders/{len(self.made)}"})


@pytest.fixture
def kitchen(face: Face) -> Kitchen:
    return kitchen_of(face)


def kitchen_of(face: Face) -> Kitchen:
    made = Kitchen()
    face.app.include_router(declared(made.router), prefix="/api/v1")
    face.app.router.routes.insert(0, face.app.router.routes.pop())  # before the page, which takes every path
    templates(face.app.routes)
    return made


def order(face: Face, what: str, key: str | None = "k-1", **headers: str) -> httpx2.Response:
    named = {} if key is None else {"Idempotency-Key": key}
    return face.http.post("/api/v1/orders", json={"what": what}, headers={**named, **headers})


def test_a_repeated_request_is_done_once_and_answered_alike(face: Face, kitchen: Kitchen) -> None:
    first, again = order(face, "tea"), order(face, "tea")
    assert kitchen.made == ["tea"]
    assert (first.status_code, again.status_code, again.content) == (201, 201, first.content)
    assert again.headers["location"] == first.headers["location"] == "/orders/1"
    assert again.headers["content-type"] == first.headers["content-type"]
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert again.headers["content-security-policy"]


def test_without_a_key_or_with_another_it_is_done_again(face: Face, kitchen: Kitchen) -> None:
    for key in (None, None, "k-1", "k-2", '"k-3"', "k-3"):
        assert order(face, "tea", key).status_code == 201
    assert len(kitchen.made) == 5  # the draft's quotes are no part of the key


def test_a_key_used_for_another_body_is_refused(face: Face, kitchen: Kitchen) -> None:
    order(face, "tea")
    problem(order(face, "coffee"), 422, "idempotency-key-reused")
    assert kitchen.made == ["tea"]


def test_the_same_key_of_somebody_else_is_another_key(face: Face, kitchen: Kitchen) -> None:
    order(face, "tea")
    assert order(face, "coffee", Authorization=f"Bearer {face.token()}").status_code == 201
    assert kitchen.made == ["tea", "coffee"]


def test_while_the_first_is_under_way_the_second_is_told_to_wait(face: Face, kitchen: Kitchen) -> None:
    kitchen.go_on.clear()
    with ThreadPoolExecutor() as pool:
        first = pool.submit(order, face, "tea")
        while not kitchen.made:
            time.sleep(0.01)
        second = order(face, "tea")
        kitchen.go_on.set()
        assert first.result().status_code == 201
    assert problem(second, 409, "idempotency-key-running")
    assert second.headers["retry-after"] == "2"
    assert order(face, "tea").headers["idempotent-replayed"] == "true"
    assert kitchen.made == ["tea"]


@pytest.mark.parametrize(("what", "status"), [("nothing", 422), ("fire", 500)])
def test_what_was_refused_or_failed_leaves_the_key_free(face: Face, kitchen: Kitchen, what: str, status: int) -> None:
    assert order(face, what).status_code == status
    assert order(face, "tea").status_code == 201
    assert order(face, what).status_code == 422  # now it stands for tea


def test_a_body_that_cannot_be_read_leaves_the_key_free(face: Face, kitchen: Kitchen) -> None:
    head = {"Idempotency-Key": "k-1", "Content-Type": "application/json"}
    problem(face.http.post("/api/v1/orders", content=b'{"what": 1', headers=head), 422, "invalid-request")
    assert order(face, "tea").status_code == 201


@pytest.mark.parametrize("key", ["a b", "", "x" * 256, "\u00e9"])
def test_a_key_that_is_none_is_named(face: Face, kitchen: Kitchen, key: str) -> None:
    raw = httpx2.Headers([(b"Idempotency-Key", key.encode())])
    said = problem(face.http.post("/api/v1/orders", json={"what": "tea"}, headers=raw), 422, "invalid-request")
    assert "Idempotency-Key" in said["detail"]
    assert not kitchen.made


def test_a_first_try_that_died_with_the_process_blocks_a_key_for_a_minute_only(face: Face, kitchen: Kitchen) -> None:
    with face.database.write() as connection:
        row = {"owner": "address 127.0.0.1", "key": "k-1", "made_ms": now_ms(), "request": "0" * 64}
        connection.execute(insert(table).values(**row))
    problem(order(face, "tea"), 422, "idempotency-key-reused")  # another body's, as far as anybody knows
    with face.database.write() as connection:
        connection.execute(update(table).values(made_ms=now_ms() - RUN_MS))
    assert order(face, "tea").status_code == 201
    assert order(face, "tea").headers["idempotent-replayed"] == "true"


def test_an_answer_is_kept_for_a_day_and_then_gone(face: Face, kitchen: Kitchen) -> None:
    order(face, "tea")
    with face.database.write() as connection:
        connection.execute(update(table).values(made_ms=now_ms() - KEPT_MS))
    assert "idempotent-replayed" not in order(face, "tea").headers
    assert kitchen.made == ["tea", "tea"]
    with face.database.write() as connection:
        connection.execute(update(table).values(made_ms=now_ms() - KEPT_MS))
    Store(face.database).begin("somebody", "k-9", b"")
    with face.database.read() as connection:
        assert connection.execute(select(table.c.key)).scalars().all() == ["k-9"]


def test_who_compresses_and_who_does_not_get_the_same_answer(face: Face, kitchen: Kitchen) -> None:
    what = "tea " * 1000
    first = order(face, what, **{"Accept-Encoding": "gzip"})
    again = order(face, what, **{"Accept-Encoding": "identity"})
    assert first.json() == again.json() == {"no": 1, "what": what}
    assert "content-encoding" not in again.headers


@pytest.mark.server
def test_on_postgresql_a_hundred_at_once_are_done_once(postgres: str, tmp_path: Path) -> None:
    with open_face(tmp_path, tmp_path, database_url=postgres) as face:
        made = Kitchen()
        face.app.include_router(declared(made.router), prefix="/api/v1")
        face.app.router.routes.insert(0, face.app.router.routes.pop())
        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(lambda _: order(face, "tea"), range(100)))
    assert made.made == ["tea"]
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len({answer.content for answer in answers if answer.status_code == 201}) == 1


def test_a_route_that_does_not_declare_it_ignores_the_header(face: Face) -> None:
    answer = face.http.post("/api/v1/enrol", json={"token": "0" * 48}, headers={"Idempotency-Key": "k-1"})
    problem(answer, 404, "enrolment-token-unknown")
    with face.database.read() as connection:
        assert connection.execute(select(table.c.key)).first() is None


def test_a_first_try_that_took_too_long_keeps_its_answer_for_who_asks_again(migrated: Path, tmp_path: Path) -> None:
    with open_face(migrated, tmp_path, deadlines=Deadlines(answer_s=1.0)) as face:
        kitchen = kitchen_of(face)
        assert order(face, "water", "k-0").status_code == 201  # the first one opens what is needed
        kitchen.go_on.clear()
        problem(order(face, "tea"), 503, "unavailable")
        problem(order(face, "tea"), 409, "idempotency-key-running")
        kitchen.go_on.set()
        wait_until(lambda: order(face, "tea").status_code == 201, "the kept answer")
        again = order(face, "tea")
    assert (again.json(), again.headers["idempotent-replayed"], kitchen.made) == (
        {"no": 2, "what": "tea"},
        "true",
        ["water", "tea"],
    )
