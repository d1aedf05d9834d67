"""An address and a credential in; whether this request may pass out, and the header fields that say how many more may.

Counted before anything is looked up or handled, so that refused and failing requests count. A credential is counted as it came,
hashed: a flood of invented ones runs into the limit of its address.

Why these numbers. A view of the page costs about five requests and one stream; a school class of 40 behind one router that opens
it within a minute and looks at five stations each costs 40 x (5 + 5 x 2) = 600. 3,000 a minute for an address leaves that five
times over, and is 50 a second, a few per cent of one core. A script with a key of its own gets 600 a minute, ten a second. Each
listener of /live holds one connection: 200 for an address are five streams for each of the 40.
"""

from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b

from hub import problems
from hub.cache import Limits, Verdict
from hub.problems import Problem

Rate = tuple[int, int]
Fields = list[tuple[bytes, bytes]]
COUNTED = ("/api", "/openapi.json", "/problems")
"""Not /health and /ready, which a supervisor asks, and not the page's files, which cost nothing."""
STREAM = "/api/v1/live"
STREAMS = 200


class Gate:
    """`address` and `key`: how many requests, of an address and of a credential; None: as many as come."""

    def __init__(self, limits: Limits, address: Rate | None, key: Rate | None, *, streams: int = STREAMS) -> None:
        self._limits = limits
        self._address = address
        self._key = key
        self._most_streams = streams
        self._streams: Counter[str] = Counter()
        self._policy = {
            False: _policy((("address", address),)),
            True: _policy((("address", address), ("key", key))),
        }

    def counts(self, path: str) -> bool:
        return path.startswith(COUNTED)

    def take(self, address: str, credential: bytes | None) -> tuple[Fields, Problem | None]:
        """The fields RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers), and the refusal if there is one."""
        said, refused = list[bytes](), None
        if self._address is not None:
            verdict = self._limits.hit("address", address, per=self._address)
            said.append(b'"address";r=%d;t=%d' % (verdict.remaining, verdict.reset_s))
            refused = None if verdict.allowed else _refusal("from this address", verdict, self._address)
        if credential is not None and self._key is not None:
            verdict = self._limits.hit("key", blake2b(credential, digest_size=16).hexdigest(), per=self._key)
            said.append(b'"key";r=%d;t=%d' % (verdict.remaining, verdict.reset_s))
            refused = refused or (None if verdict.allowed else _refusal("with this key or token", verdict, self._key))
        if not said:
            return [], None
        policy = self._policy[credential is not None]
        return [(b"ratelimit", b", ".join(said)), (b"ratelimit-policy", policy)], refused

    def enter(self, address: str) -> None:
        """One stream more of this address. Raises Problem when it has all it may."""
        if self._streams[address] >= self._most_streams:
            told = f"an address has at most {self._most_streams} open streams"
            raise Problem(problems.TOO_MANY, told, headers={"Retry-After": "30"})
        self._streams[address] += 1

    def leave(self, address: str) -> None:
        self._streams[address] -= 1
        if self._streams[address] <= 0:
            del self._streams[address]


def _policy(rates: Sequence[tuple[str, Rate | None]]) -> bytes:
    return ", ".join(f'"{name}";q={rate[0]};w={rate[1]}' for name, rate in rates if rate is not None).encode()


def _refusal(whose: str, verdict: Verdict, rate: Rate) -> Problem:
    told = f"more than {rate[0]} requests in {rate[1]} s {whose}"
    return Problem(problems.TOO_MANY, told, headers={"Retry-After": str(verdict.reset_s)})
