"""An attempt in; nothing, or a problem that says how long to wait, out. Counted before any password is hashed.

Fixed windows. A guesser gets 20 tries at an account from one address, 60 from all in a quarter of an hour; the owner is let in
past the 60 from where they signed in before, so that nobody is locked out of their own place by a stranger, and of a new place
for a quarter of an hour at the most. Addresses are cut to /64 where a guesser may have a whole network of them.
"""

from hashlib import sha256
from ipaddress import IPv6Address, ip_address

from hub import problems
from hub.cache import Limits
from hub.problems import Problem

QUARTER_S, HOUR_S = 900, 3600
ONE_ACCOUNT_FROM_ONE = (20, QUARTER_S)
ANY_ACCOUNT_FROM_ONE = (100, QUARTER_S)
ONE_ACCOUNT_FROM_ALL = (60, QUARTER_S)
REGISTER = (20, HOUR_S)
"""From one address: a class of students behind one router can sign up, a robot cannot fill the table."""
ONE_TIME = (60, HOUR_S)
LETTERS = (5, HOUR_S)
"""To one account, whoever asks for them."""


class Throttle:
    """The limits of what a stranger may try, over the hub's counters."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def login(self, email: str, address: str | None) -> bool:
        """Counts a sign-in. Raises Problem 429; False when strangers have used up what the account has for all of them."""
        here, who = network_of(address), _hidden(email)
        self._must("login from", here, ANY_ACCOUNT_FROM_ONE)
        self._must("login to from", f"{who} {here}", ONE_ACCOUNT_FROM_ONE)
        return self._limits.hit("login to", who, per=ONE_ACCOUNT_FROM_ALL).allowed

    def password(self, account: int) -> None:
        """Counts a try at one's own password by who is signed in. Raises Problem 429."""
        self._must("password", str(account), ONE_ACCOUNT_FROM_ONE)

    def register(self, address: str | None) -> None:
        """Raises Problem 429."""
        self._must("register", network_of(address), REGISTER)

    def one_time(self, address: str | None) -> None:
        """A try with a one-time token, or for one. Raises Problem 429."""
        self._must("one-time", network_of(address), ONE_TIME)

    def letter(self, email: str) -> bool:
        """Whether one more letter may go to this address: said to nobody, or it would tell who has an account."""
        return self._limits.hit("letter", _hidden(email), per=LETTERS).allowed

    def _must(self, name: str, key: str, per: tuple[int, int]) -> None:
        verdict = self._limits.hit(name, key, per=per)
        if not verdict.allowed:
            raise too_many(verdict.reset_s)


def too_many(wait_s: int) -> Problem:
    said = "too many tries; wait before the next"
    return Problem(problems.TOO_MANY, said, headers={"Retry-After": str(max(1, wait_s))})


def network_of(address: str | None) -> str:
    """An IPv4 address as it is, an IPv6 address as its /64."""
    try:
        found = ip_address(address or "")
    except ValueError:
        return "unknown"
    if isinstance(found, IPv6Address):
        return str(found.ipv4_mapped) if found.ipv4_mapped else str(IPv6Address(int(found) >> 64 << 64)) + "/64"
    return str(found)


def _hidden(email: str) -> str:
    """The counters' keys may be in Redis for all to see: not with people's addresses."""
    return sha256(email.encode("utf-8", "surrogatepass")).hexdigest()[:32]
