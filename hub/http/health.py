"""The parts' conditions in; /health, /ready and /metrics out, of every role on METRICS_BIND; the API has the first two too."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from msgspec import Struct, to_builtins

from hub.answers import Json, described
from hub.auth.guard import Allow, Guarded, Policy
from hub.context import Condition, Context, Opened
from hub.front.counts import Counts, alarms, counts
from hub.http import refusals
from hub.http.exchange import Rules
from hub.http.frame import Frame
from hub.http.traffic import Traffic
from readings.errors import Trouble

VERSION = version("harmattan")
TEXT = "text/plain; version=0.0.4; charset=utf-8"
router = APIRouter(route_class=Guarded, tags=["operation"], dependencies=[Depends(Allow(Policy.PUBLIC))])
numbers = APIRouter(
    route_class=Guarded, tags=["operation"], dependencies=[Depends(Allow(Policy.PUBLIC))], include_in_schema=False
)


class Health(Struct, frozen=True):
    """This process answers. Nothing is said about what it needs: that is /ready."""

    status: str
    version: str
    roles: tuple[str, ...]


class Ready(Struct, frozen=True):
    """Whether all that this process needs is there, and each part's condition."""

    ready: bool
    parts: dict[str, Condition]


@router.get("/health", summary="This process is alive", responses=described(Health))
async def health(context: Opened) -> Response:
    return Json(Health("ok", VERSION, context.roles))


@router.get("/ready", summary="All that this process needs is there", responses=described(Ready))
async def ready(context: Opened) -> Response:
    found = await asyncio.to_thread(conditions, context)
    good = all(condition.ok for condition in found.values())
    return Json(Ready(good, found), 200 if good else 503, headers={"Cache-Control": "no-store"})


@numbers.get("/metrics")
async def metrics(request: Request, context: Opened) -> Response:
    text = await asyncio.to_thread(exposition, context, request.app.state.traffic)
    return Response(text, media_type=TEXT)


def conditions(context: Context) -> dict[str, Condition]:
    """Each part's condition; asking one may take as long as its own timeout."""
    return {name: ask() for name, ask in context.conditions.items()}


def operation_app(context: Context, traffic: Traffic) -> FastAPI:
    """/health, /ready and /metrics alone, for METRICS_BIND. `traffic` is the API's, if there is one in this process."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.state.context = context
    app.state.traffic = traffic
    app.include_router(router)
    app.include_router(numbers)
    refusals.install(app)
    app.add_middleware(Frame, rules=Rules(Traffic()))
    return app


def exposition(context: Context, traffic: Traffic) -> str:
    """Prometheus' text format: conditions, requests, and each gateway's ledger."""
    parts = conditions(context)
    good = (({"part": name}, int(condition.ok)) for name, condition in parts.items())
    families = [
        _family("harmattan_part_ok", "gauge", "1 while a part does its work", good),
        _family("harmattan_part_fact", "gauge", "Numbers that a part tells of itself", _facts(parts)),
        _family(
            "harmattan_http_requests_total", "counter", "Requests answered",
            (({"method": m, "route": r, "status": str(s)}, n) for (m, r, s), n in traffic.requests.copy().items()),
        ),
        _family(
            "harmattan_http_seconds_total", "counter", "Seconds spent on requests",
            (({"route": r}, round(s, 6)) for r, s in traffic.seconds.copy().items()),
        ),
    ]  # fmt: skip
    try:
        with context.database.read() as connection:
            families.append(_ledger(counts(connection)))
            told = (({"gateway": name, "kind": kind}, number) for (name, kind), number in alarms(connection).items())
            families.append(_family("harmattan_alarms_total", "counter", "Events that a person must hear of", told))
    except Trouble:
        pass  # harmattan_part_ok{part="database"} says it
    return "".join(families)


def _ledger(by_gateway: Mapping[str, Counts]) -> str:
    samples = (
        ({"gateway": gateway, "state": state}, number)
        for gateway, found in by_gateway.items()
        for state, number in to_builtins(found).items()
    )
    return _family("harmattan_rows", "gauge", "Rows of a gateway by what became of them", samples)


def _facts(parts: Mapping[str, Condition]) -> Iterator[tuple[dict[str, str], float]]:
    for name, condition in parts.items():
        for fact, value in condition.facts.items():
            if isinstance(value, int | float):
                yield {"part": name, "fact": fact}, value


def _family(name: str, kind: str, meaning: str, samples: Iterable[tuple[Mapping[str, str], float]]) -> str:
    lines = [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"]
    for labels, value in samples:
        told = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        lines.append(f"{name}{{{told}}} {value:g}" if isinstance(value, float) else f"{name}{{{told}}} {int(value)}")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
