"""The API's own document in; requests that it allows and requests that it forbids out, to a real hub; nothing breaks.

`scripts/prove api` sends the operations of /openapi.json at least 5,000 cases that their policies let in, as six callers, and
writes docs/proofs/api.md; tests/proofs/test_api.py is the short form. Each operation gets a hub of its own, to be run again
alone, with its seed.
"""

import argparse
import logging
import secrets
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import schemathesis
from schemathesis.checks import CheckContext
from schemathesis.config import SchemathesisConfig
from schemathesis.core.transport import Response
from schemathesis.engine import Status, from_schema
from schemathesis.engine.events import EngineEvent, FatalError, NonFatalError, ScenarioFinished
from schemathesis.generation.case import Case
from sqlalchemy import select, update

from hub.app import document
from hub.auth.onetime import Purpose, give
from hub.database.engine import open_database
from hub.database.tables import account
from hub.fleet.enrolment import invite
from hub.problems import KINDS
from tests.hub.face import Face, now_ms, open_face
from tests.hub.neighbours import PARAMETER, SIDES, Town, settle_town
from tests.proofs.prove import ROOT, Found, Results, commit, machine

CASES = 5_000
"""That were let in: a 401 or 403 says nothing about a route but that it is guarded."""
SHUT = ("401", "403")
EXAMPLES = 10
FIRST_SEED = 20_260_000
CALLERS = ("hub admin", "network admin", "viewer", "API key", "gateway key", "nobody")
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance",
    "response_headers_conformance", "ignored_auth", "unsupported_method", "allow_header_conformance", "a_refusal_is_a_problem",
)  # fmt: skip
LEFT_OUT = {"GET /api/v1/live": "its answer never ends: tests/proofs/test_api.py opens it as each caller and closes it"}
VERBS = ("get", "put", "post", "delete", "patch")
ADA, PASSWORD = "ada@example.org", "dust over nine bridges"
"""As the document's examples have them."""
HIGH: Mapping[str, Any] = {}
"""Settings of the hub under proof: nobody is held up by a limit that another test is about."""


@schemathesis.check
def a_refusal_is_a_problem(ctx: CheckContext, response: Response, case: Case[Any]) -> None:
    """Every 4xx and 5xx is an RFC 9457 document of the closed list, about this very request."""
    if response.status_code < 400:
        return
    [media] = response.headers["content-type"]
    assert media == "application/problem+json", media
    said = response.json()
    kind = KINDS.get(said["type"].removeprefix("/problems/"))
    assert kind is not None, said
    assert (kind.status, kind.title, said["status"]) == (response.status_code, said["title"], response.status_code), said
    assert said["instance"] == response.headers["x-request-id"][0], said


def operations() -> list[str]:
    """`GET /api/v1/stations`, ...: every operation that the document has, but those left out."""
    paths: Any = document()["paths"]
    found = [f"{verb.upper()} {path}" for path, verbs in paths.items() for verb in VERBS if verb in verbs]
    return sorted(set(found) - set(LEFT_OUT))


@contextmanager
def town(template: Path) -> Iterator[tuple[Face, Town]]:
    """A hub with something in it."""
    with tempfile.TemporaryDirectory(prefix="harmattan-api-") as name, open_face(template, Path(name), **HIGH) as face:
        settled = settle_town(face)
        face.person(ADA)
        with face.database.write() as connection:  # everybody has the password of the document's examples
            connection.execute(update(account).values(password=face.app.state.people.hasher.hash(PASSWORD)))
        yield face, settled


def headers(settled: Town, caller: str) -> dict[str, str]:
    if caller == "nobody":
        return {}
    if caller.endswith("key"):
        return {"X-API-Key": settled.keys[{"API key": "ann", "gateway key": "gate-a1"}[caller]]}
    return {"Authorization": f"Bearer {settled.tokens[{'hub admin': 'root', 'network admin': 'ann', 'viewer': 'vera'}[caller]]}"}


def document_for(face: Face, settled: Town, operation: str, caller: str) -> dict[str, Any]:
    """The hub's document; what it shows as an example of this operation works in this town.

    A caller has their own way to say who they are, nobody has both: else most of an admin's cases would carry a made-up key
    beside their token, and end as a 401.
    """
    told: dict[str, Any] = face.get("/openapi.json").json()
    verb, _, path = operation.partition(" ")
    own = told["paths"][path][verb.lower()]
    there = known(settled, operation)
    for named in own.get("parameters", ()):
        if values := there.get(f"{named['in']}.{named['name']}"):
            named["example"] = values[0]
    for media in own.get("requestBody", {}).get("content", {}).values():
        if isinstance(media.get("example"), dict):
            media["example"] |= one_time(face, path)
    if caller != "nobody":
        other = "token" if caller.endswith("key") else "key"
        del told["components"]["securitySchemes"][other]
        own["security"] = [way for way in own.get("security", ()) if other not in way]
    return told


def one_time(face: Face, path: str) -> dict[str, str]:
    """What the body of this route must have that is good once."""
    if path.endswith("/enrol"):
        return {"token": invite(face.database, f"gate-{secrets.token_hex(4)}")}
    if path.endswith("/auth/refresh"):
        signed_in = face.http.post("/api/v1/auth/login", json={"email": ADA, "password": PASSWORD}).json()
        return {"refresh_token": signed_in["refresh_token"]}
    purpose = {"/auth/password/reset": Purpose.RESET, "/auth/email/verify": Purpose.VERIFY}.get(path.removeprefix("/api/v1"))
    if purpose is None:
        return {}
    with face.database.write() as connection:
        whose = connection.execute(select(account.c.id).where(account.c.email == ADA)).scalar_one()
        return {"token": give(connection, purpose, whose, ADA, now_ms())}


def known(settled: Town, operation: str) -> dict[str, tuple[Any, ...]]:
    """Place in a request -> what is there: the ids of this path's parameters, and what a body may name."""
    path = operation.partition(" ")[2]
    sides = [settled.ids(path, side) for side in SIDES]
    places = {f"path.{name[1:-1]}": sum(ids, ()) for name, *ids in zip(PARAMETER.findall(path), *sides, strict=True)}
    for name in ("network", "station", "gateway"):
        places[f"body.{name}"] = sum((settled.known[side][f"/{name}s/"] for side in SIDES), ())
    places |= {"body.email": (ADA, "ann@example.org"), "body.password": (PASSWORD,), "body.current": (PASSWORD,)}
    return {place: values for place, values in places.items() if values}


def configured(
    seed: int, examples: int, sent: Mapping[str, str], words: Mapping[str, tuple[Any, ...]], *, whole: bool
) -> SchemathesisConfig:
    """`whole`: also every boundary that the document's schemas have, and the methods that it does not name.

    `words`: what about half of the cases have in a place.
    """
    return SchemathesisConfig.from_dict(
        {
            "seed": seed,
            "headers": dict(sent),
            "request-timeout": 20,
            "continue-on-failure": True,
            "warnings": False,
            "dictionaries": {place.replace(".", "-"): {"values": list(values)} for place, values in words.items()},
            "parameters": {place: {"dictionary": place.replace(".", "-"), "probability": 0.6} for place in words},
            "generation": {"max-examples": examples, "mode": "all", "no-shrink": True, "database": "none"},
            "phases": {
                "enabled": False,
                "examples": {"enabled": True},
                "coverage": {"enabled": whole},
                "fuzzing": {"enabled": True},
            },
            "checks": {"enabled": False, **{name: {"enabled": True} for name in CHECKS}},
        }
    )


def ask(face: Face, settled: Town, operation: str, caller: str, examples: int, *, whole: bool) -> Found:
    """One operation as one caller: cases, answers by status, failures with the request to repeat."""
    seed = FIRST_SEED + zlib.crc32(f"{operation} {caller}".encode()) % 10_000
    config = configured(seed, examples, headers(settled, caller), known(settled, operation), whole=whole)
    config.projects.default.update(base_url=face.url)
    verb, _, path = operation.partition(" ")
    told = document_for(face, settled, operation, caller)
    schema = schemathesis.openapi.from_dict(told, config=config).include(path=path, method=verb)
    found: Found = {"cases": 0, "statuses": Counter(), "bad": []}
    for event in from_schema(schema).execute():
        _count(event, f"{operation} as {caller}, seed {seed}", found)
    return found


def _count(event: EngineEvent, who: str, found: Found) -> None:
    if isinstance(event, (FatalError, NonFatalError)):
        found["bad"].append(f"{who}: {getattr(event, 'exception', None) or event.info}"[:600])  # type: ignore[union-attr]
    if not isinstance(event, ScenarioFinished) or event.status is Status.SKIP:
        return
    recorder = event.recorder
    found["cases"] += len(recorder.interactions)
    for interaction in recorder.interactions.values():
        found["statuses"][str(interaction.response.status_code if interaction.response else 0)] += 1
    for case_id, checks in recorder.checks.items():
        for check in checks:
            if check.failure_info is not None:
                failure, sample = check.failure_info.failure, check.failure_info.code_sample
                said = recorder.interactions[case_id].response
                body = (said.content or b"")[:200].decode("utf-8", "replace") if said else ""
                found["bad"].append(f"{who}: {check.name}: {failure.title} {failure.message[:300]} | {sample} | {body}")
            elif check.status is not Status.SUCCESS:
                found["bad"].append(f"{who}: {check.name}: the check itself broke")


def prove(template: Path, operation: str, examples: int, callers: tuple[str, ...] = CALLERS) -> Found:
    """One operation as every caller, over a hub of its own."""
    total: Found = {"cases": 0, "statuses": Counter(), "bad": [], "operation": operation}
    begun = time.perf_counter()
    with town(template) as (face, settled):
        for caller in callers:
            found = ask(face, settled, operation, caller, examples, whole=caller in ("hub admin", "nobody"))
            total["cases"] += found["cases"]
            total["statuses"] += found["statuses"]
            total["bad"] += found["bad"]
    return total | {"statuses": dict(sorted(total["statuses"].items())), "seconds": round(time.perf_counter() - begun, 1)}


def table(results: Results, asked: list[str]) -> str:
    """What was run, as run."""
    found = [results.found[operation, 0] for operation in asked if (operation, 0) in results.found]
    cases, bad = sum(one["cases"] for one in found), sum(len(one["bad"]) for one in found)
    broken = sum(number for one in found for status, number in one["statuses"].items() if status.startswith(("5", "0")))
    times = sorted((one["at"], one["commit"]) for one in found)
    lines = [
        f"{len(found)} of {len(asked)} operations, {cases:,} cases, {bad} failures, {broken} answers 5xx or none.",
        f"{sum(map(let_in, found)):,} cases were let in (neither 401 nor 403).",
        f"Run from {times[0][0]} to {times[-1][0]} UTC at commits {times[0][1]} to {times[-1][1]}; {machine()};"
        f" schemathesis {schemathesis.__version__}.",
        f"Callers: {', '.join(CALLERS)}. Checks: {', '.join(f'`{name}`' for name in CHECKS)}.",
        "",
        "| operation | cases | answers by status | failures | seconds |",
        "|---|---|---|---|---|",
    ]
    for one in sorted(found, key=lambda one: str(one["operation"])):
        said = ", ".join(f"{status}: {number}" for status, number in one["statuses"].items())
        lines.append(f"| {one['operation']} | {one['cases']} | {said} | {len(one['bad'])} | {one['seconds']} |")
    lines += [f"| {operation} | 0 | left out: {why} | | |" for operation, why in LEFT_OUT.items()]
    return "\n".join(lines)


def let_in(found: Found) -> int:
    """How many cases got past the policy."""
    return int(sum(number for status, number in found["statuses"].items() if status not in SHUT))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=EXAMPLES, help="of each operation as each caller, beside the boundaries")
    parser.add_argument("--only", default="", help="operations whose name has this in it; nothing is kept then")
    parser.add_argument("--found", type=Path, help="file of what was found so far")
    chosen = parser.parse_args()
    logging.disable(logging.CRITICAL)
    asked = operations()
    with tempfile.TemporaryDirectory(prefix="harmattan-api-") as folder:
        template = Path(folder) / "hub.db"
        open_database(f"sqlite:///{template}", create=True).close()
        kept = chosen.found or Path.home() / ".cache" / "harmattan" / "api" / f"{commit()}-{chosen.examples}.ndjson"
        results = Results(Path(folder) / "alone" if chosen.only else kept)
        for operation in asked:
            if chosen.only in operation and (operation, 0) not in results.found:
                results.add(operation, 0, prove(template, operation, chosen.examples))
                tell(results.found[operation, 0])
    text = table(results, asked)
    print(text)
    bad = [line for one in results.found.values() for line in one["bad"]]
    if not chosen.only:
        page = ROOT / "docs" / "proofs" / "api.md"
        page.write_text(f"# The API's document against a real hub\n\nWritten by `scripts/prove api`.\n{text}\n")
        if sum(map(let_in, results.found.values())) < CASES:
            print(f"prove: fewer than {CASES:,} cases were let in; give --examples {chosen.examples * 2}", file=sys.stderr)
            return 1
    return 1 if bad else 0


def tell(found: Found) -> None:
    print(f"prove: {found['operation']}: {found['cases']} cases, {found['statuses']}, {found['seconds']} s", file=sys.stderr)
    for line in found["bad"]:
        print(f"  BAD {line}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
