"""What every answer has in common: problems, ids, headers, documents, the page; and clients that mean no good."""

import html
import re
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter
from sqlalchemy import text

from hub.app import document
from hub.http import site
from hub.http.deadline import Deadline
from hub.http.exchange import Deadlines
from hub.http.routing import declared
from hub.problems import KINDS
from hub.terms import BODY_BYTES
from tests.hub.face import Face, open_face, problem
from tests.servers import wait_until
from tests.shape import SERVERS, embedded_only


def test_a_route_without_a_policy_is_refused_at_start() -> None:
    router = APIRouter()
    router.add_api_route("/open", lambda: None)
    with pytest.raises(RuntimeError, match="/open declares 0 policies"):
        declared(router)


def test_an_admin_route_wants_an_admin(face: Face) -> None:
    problem(face.get("/api/v1/gateways"), 401, "unauthorized")
    problem(face.get("/api/v1/gateways", token="x.y.z"), 401, "unauthorized")
    assert face.get("/api/v1/gateways").headers["www-authenticate"].startswith("Bearer")


def test_health_says_that_the_process_lives_and_ready_what_is_missing(face: Face) -> None:
    assert face.get("/health").json()["status"] == "ok"
    cache = {"ok": True, "why": "", "facts": {"kind": "redis" if SERVERS else "memory", "shared": int(SERVERS)}}
    told = face.get("/ready").json()
    assert (told["ready"], told["parts"]["cache"]) == (True, cache)


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/v1/sensors/99", "/api/v1/stations/0", "/assets/no.js", "/problems/no"])
def test_what_is_not_there_is_a_404_problem(face: Face, path: str) -> None:
    problem(face.get(path), 404, "not-found")


@pytest.mark.parametrize("number", ["-1", "0", "9223372036854775807", "9223372036854775808", "1" + "0" * 30])
def test_a_number_that_no_table_holds_is_as_unknown_as_any_other(face: Face, number: str) -> None:
    problem(face.get(f"/api/v1/sensors/{number}"), 404, "not-found")


def test_a_wrong_method_names_the_right_ones(face: Face) -> None:
    answer = face.http.delete("/api/v1/stations")
    problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS, POST"
    for method, path, allowed in (
        ("GET", "/api/v1/enrol", "OPTIONS, POST"),
        ("PUT", "/api/v1/enrol", "OPTIONS, POST"),
        ("POST", "/", "GET, HEAD, OPTIONS"),
    ):
        answer = face.http.request(method, path)
        problem(answer, 405, "method-not-allowed")
        assert answer.headers["allow"] == allowed


def test_every_kind_of_problem_has_its_page(face: Face) -> None:
    for kind in KINDS.values():
        page = face.get(kind.path)
        assert page.status_code == 200
        assert kind.title in html.unescape(page.text)
        assert kind.path in face.get("/problems").text


def test_an_answer_carries_the_askers_request_id_or_a_new_one(face: Face) -> None:
    assert face.get("/health", headers={"X-Request-ID": "abc-1"}).headers["x-request-id"] == "abc-1"
    made = {face.get("/health", headers={"X-Request-ID": bad}).headers["x-request-id"] for bad in ("a b", "x" * 65, "a;b", "")}
    assert len(made) == 4
    assert all(len(one) == 16 for one in made)


def test_every_answer_forbids_what_the_page_does_not_need(face: Face) -> None:
    for path in ("/", "/api-docs", "/api/v1/stations", "/api/v1/sensors/1"):
        headers = face.get(path).headers
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in headers["content-security-policy"]
        assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
        assert "server" not in headers


def test_head_answers_like_get_without_a_body(face: Face) -> None:
    answer = face.http.head("/api/v1/stations")
    assert (answer.status_code, answer.text) == (200, "")
    assert answer.headers["content-length"] == face.get("/api/v1/stations").headers["content-length"]


def test_a_body_that_is_no_json_or_has_no_token_is_a_problem(face: Face) -> None:
    for body, kind in ((b"{", "application/json"), (b"", "application/json"), (b"[1]", "application/json"), (b"x", "text/plain")):
        answer = face.http.post("/api/v1/enrol", content=body, headers={"Content-Type": kind})
        problem(answer, 422, "invalid-request")
    said = problem(face.http.post("/api/v1/enrol", json={"token": "x" * 201}), 422, "invalid-request")
    assert "xxx" not in str(said)


def test_a_body_over_the_cap_is_refused(face: Face) -> None:
    answer = face.http.post("/api/v1/enrol", content=b"x" * (BODY_BYTES + 1))
    problem(answer, 413, "content-too-large")


def until_closed(face: Face, first: bytes, then: bytes = b"") -> bytes:
    """What a client hears that sends `first`, then byte by byte `then`, and waits."""
    heard = b""
    with socket.create_connection(face.settings.http_bind, timeout=10) as client:
        client.sendall(first)
        with suppress(ConnectionError):
            for byte in then:
                client.sendall(bytes([byte]))
                time.sleep(0.05)
        with suppress(ConnectionError):
            while part := client.recv(4096):
                heard += part
    return heard


class Impatient(Deadline):
    head_s = 0.2


def test_a_client_that_never_ends_its_head_is_cut_off(migrated: Path, tmp_path: Path) -> None:
    with open_face(migrated, tmp_path, protocol=Impatient) as face:
        assert face.get("/health").status_code == 200
        assert until_closed(face, b"") == b""
        assert until_closed(face, b"GET /health HTTP/1.1\r\n", b"X: aaaaaaaa") == b""
        assert until_closed(face, b"GET /health HTTP/1.1\r\n\r\nGET /h").count(b"HTTP/1.1 200") == 1


def test_a_head_without_an_end_is_cut_off(face: Face) -> None:
    assert until_closed(face, b"GET /health HTTP/1.1\r\n" + b"X-A: b\r\n" * 10_000) == b""


def test_a_body_that_comes_too_slowly_is_a_problem(migrated: Path, tmp_path: Path) -> None:
    head = b"POST /api/v1/enrol HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    with open_face(migrated, tmp_path, deadlines=Deadlines(body_s=0.2)) as face:
        heard = until_closed(face, head)
    assert heard.startswith(b"HTTP/1.1 408 ")
    assert b"/problems/request-timeout" in heard


def test_a_route_that_waits_for_the_database_is_answered_in_time(migrated: Path, tmp_path: Path) -> None:
    with open_face(migrated, tmp_path, deadlines=Deadlines(answer_s=1.0)) as face:
        assert face.get("/api/v1/networks", token=face.token()).status_code == 200  # the first one opens what is needed
        with face.database.write() as connection:  # SQLite: the only writer
            if face.database.dialect == "postgresql":
                connection.execute(text("LOCK TABLE audit IN ACCESS EXCLUSIVE MODE"))
            made, bearer = {"slug": "lagos", "name": "Lagos"}, {"Authorization": f"Bearer {face.token()}"}
            answer = face.http.post("/api/v1/networks", json=made, headers=bearer)
            said = problem(answer, 503, "unavailable")
            assert said["detail"] == "no answer within 1 s; what was asked for may still be done"
            assert (answer.headers["connection"], answer.headers["retry-after"]) == ("close", "10")
            assert face.get("/api/v1/stations").status_code == 200
        wait_until(lambda: "Lagos" in face.get("/api/v1/networks", token=face.token()).text, "what was asked for")
        wait_until(lambda: face.traffic.requests["POST", "/api/v1/networks", 503] == 1, "the count")


@pytest.mark.parametrize("answer_s", [0.0, 0.001, 0.004])
def test_an_answer_is_whole_whether_it_or_the_deadline_is_first(
    migrated: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, answer_s: float
) -> None:
    with open_face(migrated, tmp_path, deadlines=Deadlines(answer_s=answer_s)) as face:
        for number in range(40):
            named = {"Authorization": f"Bearer {face.token()}", "Idempotency-Key": f"k-{number}"}
            made = face.http.post("/api/v1/networks", json={"slug": f"n-{number}", "name": "N"}, headers=named)
            seen = face.get("/api/v1/stations")
            assert {made.status_code, seen.status_code} <= {200, 201, 503}
            assert made.json().get("slug") or problem(made, 503, "unavailable")
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_a_stream_may_last_longer_than_an_answer_may_take_to_begin(migrated: Path, tmp_path: Path) -> None:
    with (
        open_face(migrated, tmp_path, deadlines=Deadlines(answer_s=0.2)) as face,
        face.http.stream("GET", "/api/v1/live") as live,
    ):
        time.sleep(0.5)
        face.station(samples=1)
        assert "event: sample" in live.iter_lines()


def test_what_is_no_http_is_a_problem(face: Face) -> None:
    for noise in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"HELO hub\r\n\r\n"):
        heard = until_closed(face, noise)
        assert heard.startswith(b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\n")
        assert b'"type":"/problems/bad-request"' in heard


def test_a_nul_an_escape_or_a_flood_of_a_query_never_breaks_the_hub(face: Face) -> None:
    for query in (
        "name=%00",
        "name=%ff%fe",
        "name='%3b--",
        "limit=1e9",
        "limit=-1",
        "cursor=%F0%9F%92%A9",
        "cursor=" + "A" * 300,
    ):
        for path in ("/api/v1/sensors", "/api/v1/stations"):
            assert face.get(f"{path}?{query}").status_code in (200, 422)


def test_a_mistake_of_ours_is_a_problem_and_its_trace_is_logged(face: Face, caplog: pytest.LogCaptureFixture) -> None:
    face.station(samples=1)
    with face.database.write() as connection:
        connection.execute(text("UPDATE latest SET body = '[1]'"))
    answer = face.get("/api/v1/stations")
    problem(answer, 500, "internal-error")
    assert f"id={answer.headers['x-request-id']}" in caplog.text


@embedded_only("its file is put away")
def test_a_database_that_is_away_is_a_503_with_a_time_to_come_back(face: Face) -> None:
    (face.settings.data_dir / "hub.db").unlink()
    face.database.close()
    (face.settings.data_dir / "hub.db").mkdir()
    answer = face.get("/api/v1/stations")
    problem(answer, 503, "unavailable")
    assert answer.headers["retry-after"] == "2"


def test_the_document_describes_every_route_with_examples_and_is_complete() -> None:
    made = document()
    paths = made["paths"]
    assert isinstance(paths, dict)
    schemas = made["components"]["schemas"]  # type: ignore[index]
    whole = str(made)
    for name in ("Stations", "Sensor", "Page", "Ledger", "Credential", "Problem"):
        assert name in schemas
    assert "x-components" not in whole
    assert "HTTPValidationError" not in whole
    for path, verbs in paths.items():
        for said in verbs.values():
            assert said["summary"], path
            assert "application/problem+json" in said["responses"]["default"]["content"]
            good = [answer for status, answer in said["responses"].items() if status.startswith("2")]
            assert good, path
            if path.startswith("/api"):
                assert all("example" in content for answer in good for content in answer.get("content", {}).values()), path


def test_every_body_and_every_refusal_has_an_example() -> None:
    made: Any = document()
    for path, verbs in made["paths"].items():
        for verb, said in verbs.items():
            for media in said.get("requestBody", {}).get("content", {}).values():
                assert "example" in media or said["requestBody"].get("required") is not True, (verb, path)
            assert said["tags"], path
            assert said["responses"]["default"]["content"]["application/problem+json"]["example"]["status"] == 500
            if path.startswith("/api/"):
                assert {"429", "503"} <= set(said["responses"]), path
    for refusal in made["components"]["responses"].values():
        example = refusal["content"]["application/problem+json"]["example"]
        assert example["type"] in made["components"]["schemas"]["Problem"]["properties"]["type"]["enum"]
    assert {"token", "key"} == set(made["components"]["securitySchemes"])


def test_the_page_of_the_api_is_grouped_and_each_operation_can_be_linked_and_tried(face: Face) -> None:
    made: Any = document()
    page = html.unescape(face.get("/api-docs").text)
    for tag in made["tags"]:
        assert f'">{tag["name"]}</h2>' in page
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="#|aria-labelledby=")([^"]+)"', page)) <= set(ids)
    assert not [one for one in ids if " " in one]
    assert "<code>meta.next</code>" in page
    assert "`" not in re.sub(r"<pre.*?</pre>", "", page, flags=re.DOTALL)
    anchors = set(re.findall(r'<h3 id="([^"]+)"', page))
    assert set(re.findall(r'<li><a href="#([^"]+)"', page)) == anchors
    assert len(anchors) == sum(len(verbs) for verbs in made["paths"].values())
    assert 'curl "$HUB/api/v1/stations"' in page
    assert 'curl -X POST --json \'{"token":"385c468e' in page
    first = face.get("/api-docs")
    assert face.get("/api-docs", headers={"If-None-Match": first.headers["etag"]}).status_code == 304


def test_every_reference_in_the_document_leads_somewhere() -> None:
    made = document()

    def references(node: object) -> Iterator[str]:
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                yield node["$ref"]
            for child in node.values():
                yield from references(child)
        elif isinstance(node, list):
            for child in node:
                yield from references(child)

    found = set(references(made))
    assert found
    for reference in found:
        at: object = made
        for part in reference.removeprefix("#/").split("/"):
            assert isinstance(at, dict)
            at = at[part]


def test_the_documents_for_people_need_no_script_and_nothing_from_elsewhere(face: Face) -> None:
    page = face.get("/api-docs").text
    assert "/api/v1/sensors/{sensor}/readings" in page
    for path in ("/api-docs", "/problems"):
        shown = face.get(path).text
        assert "<script" not in shown
        assert "http://" not in shown.replace("http://127.0.0.1", "")
        assert "style=" not in shown


def built(folder: Path) -> Path:
    dist = folder / "dist"
    (dist / "assets").mkdir(parents=True)
    (dist / "index.html").write_text("<!doctype html><title>Harmattan</title>")
    (dist / "assets" / "index-Ab12_cd9.js").write_text("console.log(1);" * 200)
    (dist / "favicon.svg").write_text("<svg/>")
    return dist


def test_a_built_page_is_served_for_each_of_its_addresses(face: Face, tmp_path: Path) -> None:
    face.app.state.site = site.read(built(tmp_path))
    for path in ("/", "/stations/1", "/about"):
        answer = face.get(path)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-cache")
        assert "Harmattan" in answer.text
        again = face.get(path, headers={"If-None-Match": answer.headers["etag"]})
        assert again.status_code == 304
    script = face.get("/assets/index-Ab12_cd9.js")
    assert script.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert script.headers["content-encoding"] == "gzip"
    assert script.headers["content-type"].startswith("text/javascript")
    assert script.text.startswith("console.log")
    assert face.get("/favicon.svg").headers["content-type"].startswith("image/svg+xml")
    problem(face.get("/assets/index-gone0000.js"), 404, "not-found")


def test_no_path_leads_out_of_the_page_s_folder(face: Face, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    face.app.state.site = site.read(built(tmp_path))
    for path in ("/%2e%2e/secret", "/assets/..%2f..%2fsecret", "//secret", "/..%5csecret"):
        assert "secret" not in face.get(path).text


def test_without_a_build_a_plain_page_lists_the_latest_values(face: Face) -> None:
    face.app.state.site = {}
    face.station("unilag-01", samples=3)
    shown = face.get("/").text
    assert "unilag-01/pm" in shown
    assert '<td class="number">14</td>' in shown
    assert "not enough data for an index" in shown


def test_a_foreign_page_may_read_only_where_the_settings_say_so(migrated: Path, tmp_path: Path) -> None:
    with open_face(migrated, tmp_path, cors_origins=("https://map.example.org",)) as face:
        allowed = face.get("/api/v1/stations", headers={"Origin": "https://map.example.org"})
        other = face.get("/api/v1/stations", headers={"Origin": "https://elsewhere.example.org"})
    assert allowed.headers["access-control-allow-origin"] == "https://map.example.org"
    assert "access-control-allow-origin" not in other.headers


def test_requests_are_counted_by_route_and_not_by_address(face: Face) -> None:
    for number in (1, 2, 3):
        face.get(f"/api/v1/sensors/{number}")
    # Counted when it is over, and that is a moment after its last byte.
    wait_until(lambda: face.traffic.requests["GET", "/api/v1/sensors/{sensor}", 404] == 3, "three were counted")
