"""The opened parts in; the HTTP face out: every route with its policy, every error a problem, the page beside the API."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

import hub.analytics.routes
import hub.auth.routes
import hub.fleet.routes
import hub.front.routes
import hub.ingestion.routes
from hub.analytics.dashboard import Dashboard
from hub.analytics.live import Live
from hub.analytics.readings import Readings
from hub.auth import parts
from hub.auth.callers import Callers
from hub.auth.passwords import Hasher
from hub.auth.tokens import Tokens
from hub.cache import Limits, open_limits
from hub.context import Condition, Context
from hub.fleet.category import Categories
from hub.fleet.completeness import Completeness
from hub.http import documents, health, refusals, site
from hub.http.client import Proxies
from hub.http.cors import Cors
from hub.http.exchange import Deadlines, Rules
from hub.http.frame import Frame
from hub.http.gate import Gate
from hub.http.idempotency import Store
from hub.http.routing import declared, templates
from hub.http.traffic import Traffic
from hub.ingestion.intake import Intake
from hub.store.sql import SampleStore

PREFIX = "/api/v1"
CAPABILITIES = (
    hub.analytics.routes.router,  # first, since it is asked most: the framework looks at one route after the other
    hub.auth.routes.router,
    hub.fleet.routes.router,
    hub.front.routes.router,
    hub.ingestion.routes.router,
)


def application() -> FastAPI:
    """All routes, nothing opened yet: enough for the API's document and for the test of policies."""
    app = FastAPI(title="Harmattan hub", docs_url=None, redoc_url=None, openapi_url=None, lifespan=_life)
    app.include_router(declared(health.router))
    app.include_router(declared(documents.router))
    for router in CAPABILITIES:
        app.include_router(declared(router), prefix=PREFIX)
    app.include_router(declared(site.router))  # last: it takes every path that is left
    refusals.install(app)
    templates(app.routes)
    return app


def create_app(
    context: Context, traffic: Traffic | None = None, *, deadlines: Deadlines | None = None, hasher: Hasher | None = None
) -> FastAPI:
    """The application over opened parts. Raises Stop on a key it cannot read."""
    app = application()
    store = SampleStore(context.database)
    app.state.context = context
    app.state.traffic = traffic or Traffic()
    app.state.limits = limits = open_limits(context.settings.redis_url)
    context.conditions["cache"] = lambda: _cache(limits)
    app.state.tokens = Tokens.open(context.settings.data_dir)
    app.state.callers = Callers(context.database, app.state.tokens)
    app.state.people = parts.opened(context, app.state.tokens, app.state.callers, app.state.limits, hasher)
    app.state.categories = Categories(store)
    app.state.completeness = Completeness(context.database)
    app.state.dashboard = Dashboard(context.database, app.state.categories)
    app.state.readings = Readings(context.database, store)
    app.state.live = Live(context.database)
    app.state.intake = Intake(context.database)
    context.conditions["ingest"] = app.state.intake.condition
    app.state.site = site.read()
    app.state.documents = {}
    app.add_middleware(Frame, rules=_rules(context, app.state.traffic, limits, deadlines or Deadlines()))
    return app


def document() -> dict[str, object]:
    """The OpenAPI document."""
    return documents.document(application())


@asynccontextmanager
async def _life(app: FastAPI) -> AsyncIterator[None]:
    yield
    app.state.live.close()
    app.state.people.mailer.close()
    app.state.limits.close()


def _rules(context: Context, traffic: Traffic, limits: Limits, deadlines: Deadlines) -> Rules:
    settings = context.settings
    return Rules(
        traffic,
        deadlines,
        Proxies(settings.trusted_proxies),
        Gate(limits, settings.rate_limit_address, settings.rate_limit_key),
        Cors(settings.cors_origins),
        Store(context.database),
        secure=(settings.public_url or "").startswith("https:"),
        access_log=settings.access_log,
    )


def _cache(limits: Limits) -> Condition:
    """Redis away is told and no reason to be taken out of service: limits are then counted in each process."""
    state = limits.state()
    return Condition(True, state.why, {"kind": state.kind, "shared": int(state.ok and state.kind == "redis")})
