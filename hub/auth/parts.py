"""The opened parts that the routes of people share: hasher, sessions, letters, limits. One for the application."""

from pathlib import Path
from time import time_ns
from typing import Annotated

from fastapi import Depends, Request
from msgspec import Struct

from hub import mail
from hub.auth.callers import Callers
from hub.auth.passwords import Hasher
from hub.auth.secrets import hub_secret
from hub.auth.sessions import Sessions, Whence
from hub.auth.throttle import Throttle
from hub.auth.tokens import Tokens
from hub.auth.weakness import weakness
from hub.cache import Limits
from hub.context import Context
from hub.database.engine import Database
from hub.mail import Mailer
from hub.problems import invalid
from hub.settings import Settings

AGENT_CHARACTERS = 300


class Parts(Struct, frozen=True):
    """`secret`: the hub's, which opens what is sealed in the database."""

    database: Database
    settings: Settings
    tokens: Tokens
    callers: Callers
    hasher: Hasher
    sessions: Sessions
    throttle: Throttle
    mailer: Mailer
    secret: bytes

    @property
    def url(self) -> str:
        """Where people find this hub."""
        return self.settings.url

    @property
    def data_dir(self) -> Path:
        return self.settings.data_dir

    def strong(self, name: str, password: str, *about: str) -> str:
        """The hash of a new password, given as the field `name`. Raises Problem: 422 for a weak one, 503 when too many wait."""
        with self.hasher.turn():
            why = weakness(password, about=about, data_dir=self.data_dir)
        if why is not None:
            raise invalid(name, why, where="body")
        return self.hasher.hash(password)


def opened(context: Context, tokens: Tokens, callers: Callers, limits: Limits, hasher: Hasher | None = None) -> Parts:
    """Raises Stop on a secret or a password file that cannot be read."""
    settings = context.settings
    server = mail.server_of(
        settings.smtp_url,
        password_file=settings.smtp_password_file,
        sender=settings.mail_from,
        public_url=settings.public_url,
    )
    return Parts(
        context.database,
        settings,
        tokens,
        callers,
        hasher or Hasher(),
        Sessions.open_kept(settings.data_dir),
        Throttle(limits),
        Mailer(server),
        hub_secret(settings.data_dir),
    )


async def _of(request: Request) -> Parts:
    found: Parts = request.app.state.people
    return found


People = Annotated[Parts, Depends(_of)]


def whence(request: Request) -> Whence:
    """Where a request came from."""
    agent = request.headers.get("user-agent")
    clean = None if agent is None else "".join(c if c.isprintable() else "?" for c in agent)[:AGENT_CHARACTERS]
    return Whence(None if request.client is None else request.client.host, clean)


def now_ms() -> int:
    return time_ns() // 1_000_000
