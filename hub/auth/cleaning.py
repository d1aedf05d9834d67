"""A database in; the same without sessions, one-time tokens and keys' rows that were over a month ago out."""

from hub.auth import onetime, sessions
from hub.database.engine import Database

KEPT_MS = 30 * 86_400_000
"""A refresh token that comes back within this time after its use still ends its session."""


def clean(database: Database, now_ms: int) -> int:
    """Called once an hour. Returns how many sessions were removed."""
    with database.write() as connection:
        onetime.remove_over(connection, now_ms - KEPT_MS)
        return sessions.remove_over(connection, now_ms - KEPT_MS)
