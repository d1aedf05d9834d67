"""The application in; the same out, each request an exchange within the rules. The outermost layer.

What nobody caught becomes a problem here, and its trace a line in the log.
"""

import asyncio
import logging

from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from hub import problems
from hub.http.exchange import Exchange, Rules
from hub.http.headers import security
from hub.problems import Problem

log = logging.getLogger("hub.http")
PACKED_BYTES = 1000
"""A shorter answer is one packet either way."""


class Frame:
    """The outermost ASGI layer."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self.app = app
        self.packed = GZipMiddleware(app, minimum_size=PACKED_BYTES, compresslevel=5)
        self.rules = rules
        self.fields = security(rules.secure)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send, self.rules, self.fields)
        late = asyncio.get_running_loop().call_later(self.rules.deadlines.answer_s, exchange.late)
        try:
            if await exchange.admitted():
                app = self.packed if exchange.packs else self.app
                await app(exchange.scope, exchange.receive, exchange.send)
        except Problem as problem:
            await exchange.refuse(problem)
        except Exception:  # the outermost loop of a request: an answer must go out, the trace into the log
            log.exception("request failed id=%s route=%s", exchange.id, exchange.route)
            await exchange.refuse(Problem(problems.INTERNAL))
        finally:
            late.cancel()
            await exchange.close()
