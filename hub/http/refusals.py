"""What a framework raises in; the problem that says it out."""

from collections.abc import Collection, Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException

from hub import problems
from hub.database.engine import DatabaseAway
from hub.problems import MEDIA_TYPE, Kind, Problem

_RAISED = (
    *(problems.NOT_FOUND, problems.METHOD, problems.NO_TOKEN, problems.FORBIDDEN, problems.TOO_SLOW),
    *(problems.TOO_LARGE, problems.MEDIA, problems.INTERNAL, problems.UNAVAILABLE),
)
BY_STATUS: Mapping[int, Kind] = {kind.status: kind for kind in _RAISED}
"""What frameworks raise by its number; any other 4xx is an invalid request."""
EVERYTHING = "/{path:path}"
"""The page's route, which answers where no other does: it knows GET alone."""


def install(app: FastAPI) -> None:
    """Every error of this application answers as a problem."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(DatabaseAway, _away)


def answer(request: Request, problem: Problem) -> Response:
    return Response(problem.body(request.state.request_id), problem.kind.status, headers=problem.headers, media_type=MEDIA_TYPE)


def absent(request: Request) -> Problem:
    """What is not there; where it is with other methods, 405 with all of them (a framework names those of one route)."""
    contexts = [context for context in iter_route_contexts(request.app.routes) if context.path != EVERYTHING]
    known = {method for context in contexts if context.path_regex.match(request.url.path) for method in context.methods or ()}
    if not known:
        return Problem(problems.NOT_FOUND)
    return Problem(problems.METHOD, headers={"Allow": _allowed(known)})


def _allowed(methods: Collection[str]) -> str:
    """HEAD is answered wherever GET is, OPTIONS everywhere."""
    return ", ".join(sorted({*methods, "OPTIONS", *(["HEAD"] if "GET" in methods else [])}))


def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101  # as it was registered
    return answer(request, error)


def _validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  # as it was registered
    errors = [_said(one) for one in error.errors()]
    detail = "; ".join(f"{one['name']}: {one['why']}" for one in errors)
    return answer(request, Problem(problems.INVALID, detail, errors=errors))


def _said(error: Mapping[str, Any]) -> dict[str, str]:
    """One of pydantic's errors as {in, name, why}; what was given is not repeated, it may be a secret."""
    where, *names = [str(part) for part in error["loc"]] or ["request"]
    name = ".".join(names) or where
    return {"in": where, "name": name, "why": str(error["msg"]).removeprefix("Value error, ")}


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  # as it was registered
    if error.status_code == problems.METHOD.status:
        refused = absent(request)
        if refused.kind is not problems.METHOD:  # the page's route alone
            refused = Problem(problems.METHOD, headers={"Allow": _allowed(["GET"])})
        return Response(status_code=204, headers=refused.headers) if request.method == "OPTIONS" else answer(request, refused)
    kind = BY_STATUS.get(error.status_code, problems.INVALID if error.status_code < 500 else problems.INTERNAL)
    detail = "" if error.detail == "Not Found" else str(error.detail)
    return answer(request, Problem(kind, detail, headers=dict(error.headers or {})))


def _away(request: Request, error: Exception) -> Response:
    return answer(request, Problem(problems.UNAVAILABLE, str(error), headers={"Retry-After": "2"}))
