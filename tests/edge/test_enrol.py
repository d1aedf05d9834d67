"""Enrolment against a real HTTP server that answers as a hub does, or as a captive portal."""

import json
import socket
import stat
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from edge.config import load_credential
from edge.enrol import enrol
from readings.errors import Stop, Trouble

CREDENTIAL = {"gateway": "lagos-01", "password": "hunter2", "key": "a1" * 32, "key_version": 1, "ca": None}
PROBLEM = "application/problem+json"


class Hub(HTTPServer):
    """Gives its answer to whoever posts, and notes what was posted."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Asked)
        self.answer: tuple[int, str, bytes] = (200, "application/json", json.dumps(CREDENTIAL).encode())
        self.asked: list[tuple[str, bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def refuses(self, status: int, kind: str, title: str, detail: str = "") -> None:
        told = {"type": f"/problems/{kind}", "title": title, "status": status, "detail": detail}
        self.answer = (status, PROBLEM, json.dumps(told).encode())


class Asked(BaseHTTPRequestHandler):
    server: Hub

    def do_POST(self) -> None:
        self.server.asked.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
        status, kind, body = self.server.answer
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Location", "http://example.org/")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def test_a_token_becomes_a_private_credential_file(hub: Hub, tmp_path: Path) -> None:
    credential, path = enrol(hub.url, "0f" * 24 + "\n", out=tmp_path / "credential")
    assert hub.asked == [("/api/v1/enrol", json.dumps({"token": "0f" * 24}).encode())]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_credential(path, "lagos-01") == credential
    assert [entry.name for entry in tmp_path.iterdir()] == ["credential"]


def test_a_stick_carries_the_file_of_a_gateway_without_internet(hub: Hub, tmp_path: Path) -> None:
    _, path = enrol(hub.url + "/", "token", usb=tmp_path)
    assert path == tmp_path / "lagos-01.credential"
    assert path.exists()


@pytest.mark.parametrize(
    ("status", "kind", "title", "said"),
    [
        (
            409,
            "enrolment-token-used",
            "This enrolment token was used",
            "was used; if this gateway has no credential file, revoke it",
        ),
        (410, "enrolment-token-expired", "This enrolment token is too old", "is too old; ask for a new one"),
        (422, "enrolment-token-cut", "This enrolment token is not whole", "is not whole; copy the whole line"),
        (404, "enrolment-token-unknown", "This token was never issued here", "never issued here; check the hub's address"),
        (503, "unavailable", "The hub cannot do this right now", "right now; try again in a minute; the token is still good"),
        (400, "invalid", "Bad\nrequest", "Bad request; see the hub's log"),
    ],
)
def test_a_refusal_is_one_line_and_leaves_nothing(
    hub: Hub, tmp_path: Path, status: int, kind: str, title: str, said: str
) -> None:
    hub.refuses(status, kind, title)
    with pytest.raises(Trouble) as told:
        enrol(hub.url, "token", out=tmp_path / "credential")
    assert said in str(told.value)
    assert "\n" not in str(told.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((200, "text/html", b"<html>Accept our terms</html>"), "it is not a credential's JSON"),
        ((200, "application/json", b'{"gateway":"lagos-01"'), "it is not a credential's JSON"),
        ((200, "application/json", json.dumps({**CREDENTIAL, "key": "a1"}).encode()), "its key is not 64 hex digits"),
        ((200, "application/json", b"[" * 70_000), "it is not a credential's JSON"),
        ((302, "text/html", b""), "it sends elsewhere"),
        ((502, "text/html", b"<html>bad gateway</html>"), "HTTP 502 without a reason"),
    ],
)
def test_an_answer_that_is_no_hubs_writes_nothing(hub: Hub, tmp_path: Path, answer: tuple[int, str, bytes], said: str) -> None:
    hub.answer = answer
    with pytest.raises(Trouble, match=said):
        enrol(hub.url, "token", out=tmp_path / "credential")
    assert not list(tmp_path.iterdir())


def test_an_enrolled_gateway_keeps_its_file_and_its_token(hub: Hub, tmp_path: Path) -> None:
    enrol(hub.url, "first", out=tmp_path / "credential")
    with pytest.raises(Stop, match=r"this gateway is enrolled already, as lagos-01; .* revoke lagos-01"):
        enrol(hub.url, "second", out=tmp_path / "credential")
    assert len(hub.asked) == 1


def test_a_folder_that_is_not_there_does_not_cost_the_token(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(Stop, match=r"nothing can be written there: no such file or directory; .* the token was not used"):
        enrol(hub.url, "token", out=tmp_path / "missing" / "credential")
    assert not hub.asked


def test_an_unreachable_hub_is_named_and_the_token_is_still_good(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(Trouble, match=r"unreachable: connection refused; .* the token is still good"):
            enrol(url, "token", out=tmp_path / "credential")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("url", ["http://hub.example.org", "http://10.0.0.5:8000"])
def test_plain_http_beyond_this_machine_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(Stop, match=r"plain http would show the token .*; write https://"):
        enrol(url, "token", out=tmp_path / "credential")


@pytest.mark.parametrize("url", ["hub.example.org", "ftp://hub", "https://", "https://hub:port", "https://me:secret@hub", ""])
def test_an_address_that_is_none_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(Stop, match="write https://HUB") as told:
        enrol(url, "token", out=tmp_path / "credential")
    assert "secret" not in str(told.value)


@pytest.mark.parametrize("token", ["", "  ", "half a token"])
def test_a_token_with_a_blank_is_not_sent(hub: Hub, tmp_path: Path, token: str) -> None:
    with pytest.raises(Stop, match="copy the whole line"):
        enrol(hub.url, token, out=tmp_path / "credential")
    assert not hub.asked
