"""The opened parts that every role and every route is handed. Opened once a process, closed at its end."""

import threading
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from fastapi import Depends, Request
from msgspec import Struct, field

from hub.database.engine import Database
from hub.settings import Settings


class Condition(Struct, frozen=True):
    """How a part is doing: `ok`, or why not in a word or two a person understands."""

    ok: bool
    why: str = ""
    facts: Mapping[str, Any] = {}


class Context(Struct, frozen=True):
    """`roles`: what this process does. `conditions`: what /ready asks, by the part's name. `stop` is set once, at the end."""

    settings: Settings
    database: Database
    roles: tuple[str, ...] = ()
    conditions: dict[str, Callable[[], Condition]] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)


async def opened(request: Request) -> Context:
    """The context of the application that answers."""
    context: Context = request.app.state.context
    return context


Opened = Annotated[Context, Depends(opened)]
