"""The same answers over PostgreSQL: every route once, and live."""

from pathlib import Path

import pytest

from hub.fleet.enrolment import invite
from tests.hub.face import Face, open_face


def answers(face: Face) -> list[object]:
    """Every route's answer, without what differs between two runs."""
    gateway = face.station("unilag-01", samples=3)
    face.front.answer(gateway.name, gateway.hello())
    admin = face.token()
    credential = face.http.post("/api/v1/enrol", json={"token": invite(face.database, "unilag-02", visibility="coarse")}).json()
    station = face.get("/api/v1/stations/1").json()
    readings = face.get("/api/v1/sensors/1/readings", params={"limit": 2, "parameters": "pm10,pm2_5", "flags": 3}).json()
    second = face.get("/api/v1/sensors/1/readings", params={"limit": 2, "cursor": readings["meta"]["next"]}).json()
    return [
        [station["name"], station["index"]["reason"], station["latitude"], [s["name"] for s in station["sensors"]]],
        [row[1:] for row in readings["rows"]],
        [row[1:] for row in second["rows"]],
        [sensor["latest"]["values"] for sensor in face.get("/api/v1/sensors?name=unilag-01/pm").json()["results"]],
        [
            [g["name"], g["state"], g["sensors"], g["key_version"]]
            for g in face.get("/api/v1/gateways", token=admin).json()["results"]
        ],
        face.get("/api/v1/gateways/unilag-01/ledger", token=admin).json()["counters"],
        face.get("/api/v1/dashboard/realtime").json()["last_event_id"],
        [credential["gateway"], credential["key_version"]],
        face.get("/api/v1/sensors", params={"name": "a\0b"}).json()["results"],
        [
            face.get(path).status_code
            for path in ("/api/v1/sensors/9", f"/api/v1/sensors/{2**63 - 1}", f"/api/v1/sensors/{2**63}")
        ],
    ]


@pytest.mark.server
def test_postgresql_answers_as_sqlite_does(migrated: Path, tmp_path: Path, postgres: str) -> None:
    for name in ("sqlite", "postgresql"):
        (tmp_path / name).mkdir()
    with open_face(migrated, tmp_path / "sqlite") as face:
        expected = answers(face)
    with open_face(migrated, tmp_path / "postgresql", database_url=postgres) as face:
        assert answers(face) == expected
        with face.http.stream("GET", "/api/v1/live", headers={"Last-Event-ID": "1.1"}) as answer:
            lines = answer.iter_lines()
            assert [next(lines) for _ in range(4)] == ["retry: 2000", "", "id: 1.2", "event: sample"]
