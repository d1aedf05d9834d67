"""A request's peer and headers in; who the client is out. Only what a trusted proxy wrote is believed. No I/O here.

Each proxy appends whom it heard from, so the list is read from its right end: the first that is no trusted proxy is the client.
What stands further left is whatever that client wrote.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from msgspec import Struct

Headers = Iterable[tuple[bytes, bytes]]
FORWARDED_FOR = re.compile(r'(?i)(?:^|;)\s*for\s*=\s*"?([^";]+)"?')
FORWARDED_PROTO = re.compile(r'(?i)(?:^|;)\s*proto\s*=\s*"?(https?)\b')
MOST_HOPS = 20
FORWARDING = frozenset({b"x-forwarded-for", b"x-forwarded-proto", b"forwarded"})
KEPT_BYTES = 256
"""What proxies wrote at more length is read anew each time: it cannot fill the memory."""


class Client(Struct, frozen=True):
    """`counted`: the address as it is counted, a /64 for IPv6, since one subscriber has all of it. `secure`: None if untold."""

    address: str
    counted: str
    secure: bool | None = None


class Proxies:
    """TRUSTED_PROXIES."""

    def __init__(self, trusted: Sequence[str]) -> None:
        self._networks: list[IPv4Network | IPv6Network] = [ip_network(one) for one in trusted]
        self._trusts = lru_cache(1024)(self._looked_up)
        self._kept = lru_cache(4096)(self._behind)

    def trust(self, address: str) -> bool:
        return bool(self._networks) and self._trusts(address)

    def client(self, peer: str, headers: Headers) -> Client:
        """Who is behind a connection from `peer`."""
        if not self.trust(peer):
            return _direct(peer)
        told = tuple([field for field in headers if field[0] in FORWARDING])
        read = self._kept if sum([len(value) for _, value in told]) <= KEPT_BYTES else self._behind
        return read(peer, told)

    def _behind(self, peer: str, told: Sequence[tuple[bytes, bytes]]) -> Client:
        hops, proto = _told(told)
        address = peer
        for hop in reversed(hops[-MOST_HOPS:]):
            if (found := _address(hop)) is None:
                break
            address = found
            if not self._trusts(found):
                break
        return Client(address, counted(address), None if proto is None else proto == "https")

    def _looked_up(self, address: str) -> bool:
        try:
            found = ip_address(address)
        except ValueError:
            return False
        if isinstance(found, IPv6Address) and found.ipv4_mapped:
            found = found.ipv4_mapped
        return any(found.version == network.version and found in network for network in self._networks)


@lru_cache(4096)
def counted(address: str) -> str:
    """An IPv4 address as it is, an IPv6 address as its /64; `unknown` for what is neither."""
    try:
        found = ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(found, IPv6Address):
        return str(found.ipv4_mapped) if found.ipv4_mapped else f"{IPv6Address(int(found) >> 64 << 64)}/64"
    return str(found)


@lru_cache(4096)
def _direct(peer: str) -> Client:
    return Client(peer, counted(peer))


def _told(headers: Headers) -> tuple[list[str], str | None]:
    """What the proxies wrote: Forwarded (RFC 7239) when there is one, else X-Forwarded-For and X-Forwarded-Proto."""
    forwarded, hops, proto = list[str](), list[str](), None
    for name, value in headers:
        if name == b"x-forwarded-for":
            hops += value.decode("latin-1").split(",")
        elif name == b"forwarded":
            forwarded += value.decode("latin-1").split(",")
        elif name == b"x-forwarded-proto":
            proto = value.decode("latin-1").rpartition(",")[2].strip().lower()
    if forwarded and not hops:
        hops = [found[1] if (found := FORWARDED_FOR.search(part)) else "" for part in forwarded]
        last = FORWARDED_PROTO.search(forwarded[-1])
        proto = last[1].lower() if last else proto
    return hops, proto


def _address(hop: str) -> str | None:
    """`192.0.2.1`, `192.0.2.1:4711`, `[2001:db8::1]:4711` as an address; None for what is none."""
    text = hop.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ip_address(text))
    except ValueError:
        return None
