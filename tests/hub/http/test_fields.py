"""Header fields of answers: security, caches, other origins, methods; and what the access log says, and never says."""

import logging
from pathlib import Path

import pytest

from hub.http.headers import HEADERS
from tests.hub.face import Face, open_face

MAP = "https://map.example.org"
SECRET = "5ec2e7" * 10 + "abcd"


def test_every_kind_of_answer_has_the_security_fields(face: Face) -> None:
    for path in (
        "/",
        "/health",
        "/api-docs",
        "/problems",
        "/plain.css",
        "/api/v1/stations",
        "/api/v1/nothing",
        "/api/v1/gateways",
    ):
        answer = face.get(path)
        for name, value in HEADERS.items():
            assert answer.headers.get_list(name) == [value], (path, name)
        assert "strict-transport-security" not in answer.headers


def test_a_hub_that_is_reached_by_https_says_that_it_always_is(migrated: Path, tmp_path: Path) -> None:
    with open_face(migrated, tmp_path, public_url="https://hub.example.org") as face:
        assert face.get("/health").headers["strict-transport-security"] == "max-age=31536000"


def test_lists_for_everybody_may_be_kept_for_seconds_and_what_is_for_one_caller_nowhere(face: Face) -> None:
    assert face.get("/api/v1/stations").headers["cache-control"] == "public, max-age=5"
    for answer in (
        face.get("/api/v1/stations", token=face.token()),
        face.get("/api/v1/gateways", token=face.token()),
        face.get("/api/v1/nothing"),
        face.get("/api/v1/stations?limit=0"),
    ):
        assert answer.headers["cache-control"] == "no-store"
    for path in ("/api/v1/stations", "/api/v1/nothing"):
        assert "Accept-Encoding, Authorization, X-API-Key" in face.get(path).headers["vary"]


def test_an_answer_that_is_known_is_not_sent_again(face: Face) -> None:
    face.station(samples=3)
    first = face.get("/api/v1/stations")
    for known in (first.headers["etag"], f'"other", {first.headers["etag"]}', "*"):
        again = face.get("/api/v1/stations", headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
    assert face.get("/api/v1/stations", headers={"If-None-Match": '"other"'}).status_code == 200


def test_head_answers_wherever_get_does_and_options_everywhere(face: Face) -> None:
    for path in ("/", "/health", "/api-docs", "/openapi.json", "/api/v1/stations", "/api/v1/dashboard/realtime"):
        whole, head, options = face.get(path), face.http.head(path), face.http.options(path)
        assert (head.status_code, head.content) == (whole.status_code, b"")
        assert head.headers["content-type"] == whole.headers["content-type"]
        assert options.status_code == 204
        assert {"GET", "HEAD", "OPTIONS"} <= set(options.headers["allow"].split(", "))
    assert face.http.options("/api/v1/enrol").headers["allow"] == "OPTIONS, POST"


def test_an_origin_that_is_allowed_may_ask_first_and_then_read(migrated: Path, tmp_path: Path) -> None:
    asks = {"Origin": MAP, "Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "x-api-key"}
    with open_face(migrated, tmp_path, cors_origins=(MAP,)) as face:
        before = face.http.options("/api/v1/stations/1", headers=asks)
        assert before.status_code == 204
        assert before.headers["access-control-allow-origin"] == MAP
        assert {"PATCH", "PUT", "DELETE"} <= set(before.headers["access-control-allow-methods"].split(", "))
        for name in ("X-API-Key", "Idempotency-Key", "If-None-Match", "Authorization"):
            assert name in before.headers["access-control-allow-headers"]
        for answer in (
            face.get("/api/v1/stations", headers={"Origin": MAP}),
            face.get("/api/v1/nothing", headers={"Origin": MAP}),
        ):
            assert answer.headers["access-control-allow-origin"] == MAP
            assert "access-control-allow-credentials" not in answer.headers
            assert "ETag" in answer.headers["access-control-expose-headers"]
        assert "Origin" in face.get("/api/v1/stations").headers["vary"]


def test_no_other_origin_and_no_page_elsewhere_may_use_the_refresh_cookie(migrated: Path, tmp_path: Path) -> None:
    with open_face(migrated, tmp_path, cors_origins=(MAP,)) as face:
        asks = {"Access-Control-Request-Method": "POST"}
        for origin, path in (("https://elsewhere.example.org", "/api/v1/stations"), ("null", "/api/v1/stations"),
                             (MAP, "/api/v1/auth/refresh"), (MAP, "/api/v1/auth/logout")):  # fmt: skip
            for answer in (
                face.http.options(path, headers={"Origin": origin, **asks}),
                face.get(path, headers={"Origin": origin}),
            ):
                assert "access-control-allow-origin" not in answer.headers


def test_without_cors_origins_no_other_page_reads_anything(face: Face) -> None:
    assert "access-control-allow-origin" not in face.get("/api/v1/stations", headers={"Origin": MAP}).headers


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "hub.http"]


def test_a_request_is_one_line_with_its_route_and_without_what_it_brought(face: Face, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hub")
    face.get(f"/api/v1/sensors/{SECRET}?name={SECRET}", headers={"X-API-Key": SECRET, "X-Request-ID": "r-1"})
    face.get("/api/v1/gateways", token=face.token())
    face.get("/api/v1/stations")
    face.get("/health")
    face.get(f"/{SECRET}")
    refused, token, anybody = lines(caplog)
    assert refused.startswith("request id=r-1 method=GET route=/api/v1/sensors/{sensor} status=4")
    assert refused.endswith("client=127.0.0.1 caller=refused")
    assert " route=/api/v1/gateways status=200 ms=" in token
    assert token.endswith("caller=token")
    assert " bytes=" in anybody
    assert anybody.endswith("caller=anybody")
    assert SECRET not in caplog.text


def test_the_access_log_can_be_off(migrated: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "hub")
    with open_face(migrated, tmp_path, access_log=False) as face:
        face.get("/api/v1/stations")
    assert not lines(caplog)
