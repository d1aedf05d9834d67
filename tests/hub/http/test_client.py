"""Who the client is: what proxies wrote, and what others only claim."""

import pytest

from hub.http.client import Proxies, counted

TRUSTED = Proxies(("10.0.0.0/8", "127.0.0.1", "2001:db8:ffff::/48"))


def client(peer: str, **headers: str) -> str:
    raw = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return TRUSTED.client(peer, raw).address


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("6.6.6.6, 203.0.113.9", "203.0.113.9"),  # whoever sent it wrote 6.6.6.6 in front
        ("203.0.113.9, 10.1.2.3", "203.0.113.9"),  # through two proxies of ours
        ("6.6.6.6, 203.0.113.9, 10.1.2.3, 127.0.0.1", "203.0.113.9"),
        ("10.1.2.3", "10.1.2.3"),  # nobody else was there
        ("203.0.113.9:4711", "203.0.113.9"),
        ("[2001:db8:1::5]:4711", "2001:db8:1::5"),
        ("2001:db8:1::5", "2001:db8:1::5"),
        ("203.0.113.9, nonsense", "10.0.0.1"),  # a proxy that writes no address tells nothing
        ("", "10.0.0.1"),
    ],
)
def test_the_client_is_the_right_most_that_is_no_trusted_proxy(written: str, found: str) -> None:
    assert client("10.0.0.1", x_forwarded_for=written) == found


def test_several_lines_of_a_header_are_one_list() -> None:
    raw = [(b"x-forwarded-for", b"6.6.6.6"), (b"x-forwarded-for", b"203.0.113.9")]
    assert TRUSTED.client("10.0.0.1", raw).address == "203.0.113.9"


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("for=203.0.113.9", "203.0.113.9"),
        ("for=6.6.6.6, for=203.0.113.9;proto=https;by=10.0.0.1", "203.0.113.9"),
        ('for="[2001:db8:1::5]:4711"', "2001:db8:1::5"),
        ("for=_hidden", "10.0.0.1"),
    ],
)
def test_forwarded_is_read_as_well(written: str, found: str) -> None:
    assert client("10.0.0.1", forwarded=written) == found


def test_what_an_untrusted_peer_writes_is_ignored() -> None:
    assert client("198.51.100.7", x_forwarded_for="203.0.113.9", x_forwarded_proto="https") == "198.51.100.7"
    assert Proxies(()).client("127.0.0.1", [(b"x-forwarded-for", b"203.0.113.9")]).address == "127.0.0.1"


def test_a_thousand_hops_cost_no_more_than_twenty() -> None:
    assert client("10.0.0.1", x_forwarded_for="203.0.113.9, " + ", ".join(["10.1.1.1"] * 1000)) == "10.1.1.1"


def test_a_proxy_tells_whether_the_client_came_by_https() -> None:
    told = [(b"x-forwarded-for", b"203.0.113.9"), (b"x-forwarded-proto", b"https")]
    assert TRUSTED.client("10.0.0.1", told).secure is True
    assert TRUSTED.client("10.0.0.1", [(b"forwarded", b"for=203.0.113.9;proto=http")]).secure is False
    assert TRUSTED.client("10.0.0.1", told[:1]).secure is None


def test_an_ipv6_network_is_one_client() -> None:
    assert counted("2001:db8:1:2:aaaa::1") == counted("2001:db8:1:2:bbbb::9") == "2001:db8:1:2::/64"
    assert counted("2001:db8:1:3::1") != counted("2001:db8:1:2::1")
    assert counted("::ffff:203.0.113.9") == "203.0.113.9"
    assert counted("no address") == "unknown"
