"""/sensors/{id}/readings, /live, /dashboard/realtime."""

from functools import partial
from time import time_ns
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from msgspec import Struct

from hub import problems
from hub.analytics.dashboard import Dashboard, Realtime
from hub.analytics.live import Live
from hub.analytics.readings import Asked, Readings, Span
from hub.answers import Json, described, link, moment, place, rfc3339, tagged
from hub.auth.guard import Allow, Asking, Guarded, Policy, again
from hub.fleet.routes import STATION, Cursor, known
from hub.problems import Problem, invalid

router = APIRouter(route_class=Guarded, dependencies=[Depends(Allow(Policy.PUBLIC))])
DAY_MS = 86_400_000
FLAGS = (1, 2, 3, 4, 9)
AN_EVENT = (
    'id: 12.0\nevent: sample\ndata: {"station":1,"sensor":3,"name":"unilag-01/pm","time":"2026-11-24T12:00:00.000Z",'
    '"values":{"pm2_5":12.3},"units":{"pm2_5":"ug/m3"},"flags":{"pm2_5":1}}\n\n'
)


class PageMeta(Struct, frozen=True):
    """`from` and `to` are the span that was read; `next` is the cursor of what follows.

    `embargoed_after`: what is younger is for members of the network only; null where nothing is held back. `licence`,
    `attribution`: how the data may be used, and whom to name.
    """

    sensor: int
    name: str
    to: str
    limit: int
    next: str | None
    licence: str | None
    attribution: str | None
    embargoed_after: str | None


class Page(Struct, frozen=True):
    """A table: `rows` hold the columns that `fields` names, the first being the time; after each parameter its flag."""

    fields: list[str]
    units: list[str]
    rows: list[list[str | float | None]]
    meta: PageMeta


PAGE = Page(
    ["time", "pm2_5", "pm2_5_flag"], ["", "ug/m3", ""],
    [["2026-11-24T12:00:00.000Z", 12.3, 1], ["2026-11-24T12:01:00.000Z", None, 9]],
    PageMeta(3, "unilag-01/pm", "2026-11-25T12:00:00.000Z", 1000, None, "CC-BY-4.0", "UNILAG", None),
)  # fmt: skip


@router.get(
    "/sensors/{sensor}/readings", tags=["readings"], summary="Readings of one sensor, ascending in time",
    responses=described(Page, example=PAGE),
)  # fmt: skip
def readings(
    sensor: Annotated[int, Path(description="A sensor's id.")],
    request: Request,
    caller: Asking,
    from_: Annotated[
        str | None, Query(alias="from", max_length=40, description="First time, inclusive; default a day before to.")
    ] = None,
    to: Annotated[str | None, Query(max_length=40, description="Last time, exclusive; default now.")] = None,
    parameters: Annotated[str | None, Query(max_length=2000, description="Like pm2_5,pm10; default all.")] = None,
    flags: Annotated[int | None, Query(description="Values with a higher flag become null: 1, 2, 3, 4 or 9.")] = None,
    limit: Annotated[int, Query(ge=1, le=10_000, description="At most this many rows, 1 to 10,000.")] = 1000,
    at: Cursor = None,
) -> Response:
    if flags is not None and flags not in FLAGS:
        raise invalid("flags", f"{flags} is no flag; the highest accepted is one of {', '.join(map(str, FLAGS))}")
    names = None if parameters is None else tuple(dict.fromkeys(name.strip() for name in parameters.split(",")))
    after = place(at, f"readings:{sensor}", 3) if at else None
    asked = Asked(
        sensor=known(sensor),
        span=span(from_, to),
        parameters=names,
        worst_flag=flags,
        limit=limit,
        after=None if after is None else (after[0], after[1], after[2]),
    )
    found: Readings = request.app.state.readings
    body, following = found.page(asked, caller)
    return tagged(request, body, link(request, following))


@router.get("/dashboard/realtime", tags=["stations"], summary="All that a first view needs, in one call",
            responses=described(Realtime, example=Realtime("2026-11-24T12:00:01.000Z", [STATION], "12.3")))  # fmt: skip
def realtime(request: Request, caller: Asking) -> Response:
    found: Dashboard = request.app.state.dashboard
    return Json(found.body(caller), headers={"Cache-Control": "no-store"})


@router.get(
    "/live", tags=["readings"], summary="Server-sent events, one for each stored sample", response_class=StreamingResponse,
    responses={200: {"description": "As samples come in", "content": {"text/event-stream": {"example": AN_EVENT}}}},
)  # fmt: skip
async def live(
    request: Request,
    caller: Asking,
    stations: Annotated[str | None, Query(max_length=2000, description="Ids like 1,2: these stations alone.")] = None,
    last_event_id: Annotated[str | None, Query(max_length=40, description="As the header Last-Event-ID, which wins.")] = None,
    header: Annotated[str | None, Header(alias="Last-Event-ID", description="Goes on behind it, at most 24 h back.")] = None,
) -> Response:
    tail: Live = request.app.state.live
    if tail.full:
        raise Problem(problems.UNAVAILABLE, "too many listen already", headers={"Retry-After": "30"})
    renew = None if caller is None else partial(again, request)
    events = tail.events(caller, _ids(stations), header if header is not None else last_event_id, renew=renew)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)


def span(from_: str | None, to: str | None) -> Span:
    """The last day before `to`, `to` being now, unless told otherwise. Raises Problem."""
    to_ms = time_ns() // 1_000_000 if to is None else moment(to, "to")
    from_ms = to_ms - DAY_MS if from_ is None else moment(from_, "from")
    if from_ms >= to_ms:
        raise invalid("from", f"{rfc3339(from_ms)} is not before to, {rfc3339(to_ms)}")
    return Span(from_ms, to_ms)


def _ids(text: str | None) -> frozenset[int] | None:
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and len(part) < 19 for part in parts):
        raise invalid("stations", f"'{text[:100]}' is no list of station ids; write them like 1,2")
    return frozenset(map(int, parts))
