"""Limits over real HTTP, as behind a proxy at 127.0.0.1: who is counted as whom, and what the answer says."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.http.gate import Gate
from tests.hub.face import Face, open_face, problem

LIMITED: dict[str, Any] = {"trusted_proxies": ("127.0.0.1",), "rate_limit_address": (5, 86_400), "rate_limit_key": (3, 86_400)}


@pytest.fixture
def limited(migrated: Path, tmp_path: Path) -> Iterator[Face]:
    """Five requests a day for an address, three for a credential."""
    with open_face(migrated, tmp_path, **LIMITED) as face:
        yield face


def ask(face: Face, address: str, path: str = "/api/v1/stations", **headers: str) -> int:
    return face.get(path, headers={"X-Forwarded-For": address, **headers}).status_code


def test_an_address_has_so_many_requests_and_hears_how_many_are_left(limited: Face) -> None:
    first = limited.get("/api/v1/stations", headers={"X-Forwarded-For": "203.0.113.1"})
    assert first.headers["ratelimit-policy"] == '"address";q=5;w=86400'
    assert first.headers["ratelimit"].startswith('"address";r=4;t=')
    assert [ask(limited, "203.0.113.1") for _ in range(5)] == [200, 200, 200, 200, 429]
    refused = limited.get("/api/v1/stations", headers={"X-Forwarded-For": "203.0.113.1"})
    said = problem(refused, 429, "too-many-requests")
    assert said["detail"] == "more than 5 requests in 86400 s from this address"
    assert 1 <= int(refused.headers["retry-after"]) <= 86_400
    assert ask(limited, "203.0.113.2") == 200


def test_a_forged_header_in_front_of_the_proxys_own_changes_nothing(limited: Face) -> None:
    seen = [ask(limited, f"198.51.100.{number}, 203.0.113.1") for number in range(6)]
    assert seen == [200] * 5 + [429]


def test_without_a_trusted_proxy_the_header_is_ignored(migrated: Path, tmp_path: Path) -> None:
    with open_face(migrated, tmp_path, **{**LIMITED, "trusted_proxies": ()}) as face:
        assert [ask(face, f"203.0.113.{number}") for number in range(6)] == [200] * 5 + [429]


def test_an_ipv6_network_is_counted_as_one(limited: Face) -> None:
    assert [ask(limited, f"2001:db8:1:2::{number}") for number in range(1, 7)] == [200] * 5 + [429]
    assert ask(limited, "2001:db8:1:3::1") == 200


def test_a_key_is_counted_wherever_it_comes_from(limited: Face) -> None:
    token = {"Authorization": f"Bearer {limited.token()}"}
    seen = [ask(limited, f"203.0.113.{number}", "/api/v1/gateways", **token) for number in range(4)]
    assert seen == [200, 200, 200, 429]
    answer = limited.get("/api/v1/gateways", headers={"X-Forwarded-For": "203.0.113.99", **token})
    assert answer.headers["ratelimit-policy"] == '"address";q=5;w=86400, "key";q=3;w=86400'
    assert '"key";r=0;t=' in answer.headers["ratelimit"]
    assert "with this key or token" in answer.json()["detail"]


def test_a_flood_of_invented_keys_runs_into_the_limit_of_its_address(limited: Face) -> None:
    seen = [ask(limited, "203.0.113.1", **{"X-API-Key": f"{number:064x}"}) for number in range(7)]
    assert seen == [401] * 5 + [429] * 2


def test_refused_and_failing_requests_count(limited: Face) -> None:
    for path in ("/api/v1/nothing", "/api/v1/stations?limit=0", "/api/v1/gateways", "/api/v1/sensors/1", "/api/v1/users"):
        assert ask(limited, "203.0.113.1", path) in (401, 404, 422)
    assert ask(limited, "203.0.113.1") == 429


def test_health_and_the_page_are_not_limited(limited: Face) -> None:
    for path in ("/health", "/ready", "/", "/stations/1"):
        assert {ask(limited, "203.0.113.1", path) for _ in range(7)} <= {200, 404}


def test_an_address_may_only_listen_so_often(limited: Face) -> None:
    gate = Gate(limited.app.state.limits, None, None, streams=2)
    gate.enter("a")
    gate.enter("a")
    gate.enter("b")
    with pytest.raises(Exception, match="at most 2 open streams"):
        gate.enter("a")
    gate.leave("a")
    gate.enter("a")


def test_a_stream_that_ended_makes_room(limited: Face) -> None:
    for _ in range(3):
        with limited.http.stream("GET", "/api/v1/live", headers={"X-Forwarded-For": "203.0.113.1"}) as answer:
            assert answer.status_code == 200
            assert next(answer.iter_lines()) == "retry: 2000"
    rules: Any = next(one.kwargs["rules"] for one in limited.app.user_middleware if "rules" in one.kwargs)
    deadline = time.monotonic() + 10
    while rules.gate._streams:
        assert time.monotonic() < deadline
        time.sleep(0.02)
