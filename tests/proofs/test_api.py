"""The API's document against a real hub, in short: each operation as one of the callers. The long form: scripts/prove api."""

import hashlib
from pathlib import Path

import pytest

from tests.hub.face import migrated, open_face
from tests.hub.neighbours import settle_town
from tests.proofs import api
from tests.proofs.api import CALLERS, LEFT_OUT, ask, headers, operations, town

__all__ = ["migrated"]
pytestmark = pytest.mark.proof
SHARES = 4
EXAMPLES = 4


def share(operation: str) -> int:
    return int(hashlib.sha256(operation.encode()).hexdigest(), 16) % SHARES


@pytest.mark.parametrize("number", range(SHARES))
def test_no_request_that_the_document_allows_or_forbids_breaks_the_hub(number: int, migrated: Path) -> None:
    cases, bad = 0, list[str]()
    with town(migrated) as (face, settled):
        for at, operation in enumerate(one for one in operations() if share(one) == number):
            found = ask(face, settled, operation, CALLERS[at % len(CALLERS)], EXAMPLES, whole=False)
            print(operation, found["cases"], found["statuses"])
            cases, bad = cases + found["cases"], bad + found["bad"]
    assert bad == []
    assert cases >= EXAMPLES


def test_what_is_left_out_is_opened_by_hand_as_each_caller(migrated: Path, tmp_path: Path) -> None:
    assert list(LEFT_OUT) == ["GET /api/v1/live"]
    with open_face(migrated, tmp_path) as face:
        settled = settle_town(face)
        for caller in CALLERS:
            sent = headers(settled, caller)
            with face.http.stream("GET", "/api/v1/live", headers={**sent, "Last-Event-ID": "0.0"}) as answer:
                if caller == "gateway key":  # its scope is ingest alone
                    assert answer.status_code == 403
                    continue
                assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, "text/event-stream")
                assert next(answer.iter_lines()) == "retry: 2000"
            assert face.get("/api/v1/live?stations=x", headers=sent).status_code == 422
        assert face.http.post("/api/v1/live").headers["allow"] == "GET, HEAD, OPTIONS"


def test_a_hub_that_breaks_is_found(migrated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof itself: with every kind of problem renamed, or with a failing route, it must not say that all is well."""
    with town(migrated) as (face, settled):
        monkeypatch.setattr(api, "KINDS", {})
        found = ask(face, settled, "GET /api/v1/gateways", "nobody", 1, whole=False)
        assert any("a_refusal_is_a_problem" in line for line in found["bad"])
        face.app.state.categories = None
        found = ask(face, settled, "GET /api/v1/stations", "nobody", 1, whole=False)
        assert any("not_a_server_error" in line for line in found["bad"])
