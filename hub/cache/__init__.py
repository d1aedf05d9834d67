"""A name, a key and an allowance in; whether one more may pass out. Counted here, with REDIS_URL in all processes together.

Fixed windows: a key costs one number, its end is exact, and another process's count is one INCRBY away. A moving window needs the
time of every hit, 600 of them for an address. Each key's windows begin at a moment of its own, so that those who were told to
wait do not all come back in the same second. `limits`, the usual library, was measured and left: docs/decisions/008.
"""

from typing import Protocol

from msgspec import Struct


class Verdict(Struct, frozen=True):
    """`remaining` of `limit`, all of it again in `reset_s` seconds (at least 1)."""

    allowed: bool
    limit: int
    remaining: int
    reset_s: int


class State(Struct, frozen=True):
    """Where is counted: `memory` or `redis`; `ok` and `why` not: Redis away means that each process counts by itself."""

    kind: str
    ok: bool
    why: str = ""


class Limits(Protocol):
    """Safe to call from any thread and from the event loop: a hit never waits and never raises."""

    def hit(self, name: str, key: str, *, per: tuple[int, int], cost: int = 1) -> Verdict:
        """Takes `cost` of the `per` = (amount, seconds) that `key` has under `name`; what is refused counts too. 0 only asks."""
        ...

    def state(self) -> State: ...

    def close(self) -> None: ...


def open_limits(redis_url: str) -> Limits:
    """Counts of this process, shared through Redis when there is a URL. Never raises because Redis is away."""
    if not redis_url:
        from hub.cache.memory import Memory

        return Memory()
    from hub.cache.redis import Shared

    return Shared(redis_url)
