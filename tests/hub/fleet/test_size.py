"""A fleet of a thousand gateways, and the whole fleet API on PostgreSQL."""

from pathlib import Path
from time import process_time

import pytest
from sqlalchemy import event, insert

from hub.auth.tokens import Role
from hub.database import tables
from tests.hub.face import HOUR_MS, Face, now_ms, open_face
from tests.hub.field import Gateway

API = "/api/v1"
GATEWAYS, SAMPLES = 1000, 60
MOST_QUERIES, MOST_CPU_S = 16, 2.5
"""Measured: 7 queries and 0.2 s for a thousand gateways with a sensor each, counted for the first time."""


def fill(face: Face) -> None:
    at = now_ms()
    numbers = range(1, GATEWAYS + 1)
    with face.database.write() as connection:
        rows = [{"id": n, "network": 1, "name": f"gw-{n:04}", "enrolled_ms": 1, "hello_ms": at} for n in numbers]
        connection.execute(insert(tables.gateway), rows)
        connection.execute(insert(tables.sensor), [{"id": n, "network": 1, "gateway": n, "local_id": "pm"} for n in numbers])
        held = [{"gateway": n, "stream": f"{n:016x}", "ranges": "[[1,50],[55,60]]", "gone": "[]", "seen_hi": 62} for n in numbers]
        connection.execute(insert(tables.held), held)
        samples = [
            {"sensor": n, "time_ms": at - k * 60_000, "stream_no": n, "seq": SAMPLES - k, "schema": 1, "body": "[1]"}
            for n in numbers
            for k in range(SAMPLES)
        ]
        connection.execute(insert(tables.sample), samples)


def test_a_thousand_gateways_are_listed_in_a_few_queries(face: Face) -> None:
    fill(face)
    asked: list[str] = []
    event.listen(face.database.engine, "before_cursor_execute", lambda *told: asked.append(told[2]))
    token = face.token()
    begun = process_time()
    found = face.get(f"{API}/gateways?limit=1000", token).json()["results"]
    spent = process_time() - begun
    assert len(found) == GATEWAYS
    assert (found[0]["pending"], found[0]["gaps"], found[0]["online"]) == (6, 1, True)
    assert found[0]["completeness"]["share"] > 0.98
    assert len(asked) <= MOST_QUERIES, asked
    assert spent < MOST_CPU_S
    again = len(asked)
    face.get(f"{API}/gateways?limit=1000", token)
    assert len(asked) - again < again, "what was counted is remembered"


@pytest.mark.server
def test_the_fleet_api_on_postgresql(migrated: Path, tmp_path: Path, postgres: str) -> None:
    with open_face(migrated, tmp_path, database_url=postgres) as face:
        token = face.person("root@example.org", role=Role.ADMIN)
        headers = {"Authorization": f"Bearer {token}"}
        face.enrol("unilag-01")
        gateway = Gateway("unilag-01")
        begun = now_ms() - HOUR_MS
        gateway.start({"name": "gate", "lat": 6.51581, "lon": 3.38982}, at_ms=begun)
        gateway.schema()
        for minute in range(60):
            gateway.sample([minute, 1, 1], begun + minute * 60_000)
        face.feed(gateway)
        (found,) = face.get(f"{API}/gateways", token).json()["results"]
        assert (found["sensors"], found["pending"]) == (1, 0)
        assert found["completeness"]["share"] > 0.9
        for path in ("/networks", "/networks/1", "/stations", "/stations/1", "/sensors", "/sensors/1", "/sensors/1/readings",
                     "/dashboard/realtime", "/stations/1/deployments", "/sensors/1/deployments", "/gateways/unilag-01/ledger",
                     "/networks/1/members", "/gateways/unilag-01/keys"):  # fmt: skip
            for who in (token, None):
                assert face.get(API + path, who).status_code in (200, 401), path
        yard = face.http.post(f"{API}/stations", json={"network": 1, "name": "yard"}, headers=headers).json()["id"]
        moved = face.http.post(f"{API}/gateways/unilag-01/move", json={"station": yard}, headers=headers)
        assert (moved.status_code, moved.json()["sensors"]) == (200, 1), moved.text
        swapped = face.http.post(f"{API}/sensors/1/swap", json={"serial": "P-2"}, headers=headers)
        assert (swapped.status_code, swapped.json()["name"], swapped.json()["serial"]) == (201, "unilag-01/pm", "P-2"), (
            swapped.text
        )
        assert face.get(f"{API}/sensors/1", token).json()["name"] == "unilag-01/pm~1"
        assert face.http.patch(f"{API}/networks/1", json={"embargo_s": 60}, headers=headers).status_code == 200
        assert face.get(f"{API}/sensors/1/readings").json()["meta"]["embargoed_after"] is not None
