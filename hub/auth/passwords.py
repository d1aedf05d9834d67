"""A password in, its argon2id hash out, and whether it is the one. Two at a time: a flood of sign-ins must not eat the hub."""

import secrets
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from hub import problems
from hub.problems import Problem

MEMORY_KIB, PASSES, LANES = 19 * 1024, 2, 1
"""OWASP's parameters: 31 ms on one core of a small server, some 150 ms on a Raspberry Pi 4, where 64 MiB took five times that."""
AT_ONCE, WAITING = 2, 8
"""Two hashes are 38 MiB and two cores; whoever finds eight waiting before them is asked to come again."""
RETRY_S = 2


class Hasher:
    """Hashes and verifies, bounded. `done` counts the hashes computed: an unknown address costs one as a known one does."""

    def __init__(self, *, memory_kib: int = MEMORY_KIB, passes: int = PASSES) -> None:
        self._argon2 = PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=LANES)
        self._places = threading.BoundedSemaphore(AT_ONCE + WAITING)
        self._running = threading.Semaphore(AT_ONCE)
        self._dummy = self._argon2.hash(secrets.token_hex(16))
        self.done = 0

    def hash(self, password: str) -> str:
        """Raises Problem 503 when too many wait."""
        with self._turn():
            return self._argon2.hash(normal(password))

    def verify(self, hashed: str | None, password: str) -> bool:
        """Whether it is the password; for nobody's (None) as long as for somebody's, and false. Raises Problem as `hash`."""
        with self._turn():
            try:
                self._argon2.verify(hashed or self._dummy, normal(password))
            except (VerificationError, InvalidHashError):
                return False
            return hashed is not None

    def outdated(self, hashed: str) -> bool:
        """Whether it was made with other parameters than ours: hash anew at the next sign-in."""
        return self._argon2.check_needs_rehash(hashed)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """A place among the few for other heavy work on a password. Raises Problem 503 when too many wait."""
        if not self._places.acquire(blocking=False):
            said = "too many passwords are being checked just now"
            raise Problem(problems.UNAVAILABLE, said, headers={"Retry-After": str(RETRY_S)})
        try:
            with self._running:
                yield
        finally:
            self._places.release()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        with self.turn():
            self.done += 1
            yield


def normal(password: str) -> str:
    """NFKC (NIST SP 800-63B-4, 3.1.1.2): the same letters typed on another keyboard are the same password. Nothing is cut off."""
    return unicodedata.normalize("NFKC", password)
