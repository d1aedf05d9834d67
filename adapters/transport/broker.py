"""The address of an MQTT broker: a URL in, its parts out. Loads no MQTT library: checking a configuration costs nothing."""

from urllib.parse import unquote, urlsplit

from msgspec import Struct

from readings.errors import Stop

PORTS = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}


class Broker(Struct, frozen=True):
    """A parsed broker URL. `plain`: no TLS. `user`: from the URL, '' when it names none."""

    url: str
    scheme: str
    host: str
    port: int
    path: str
    user: str
    password: str

    @property
    def plain(self) -> bool:
        return self.scheme in ("mqtt", "ws")

    @property
    def loopback(self) -> bool:
        return self.host in ("localhost", "::1") or self.host.startswith("127.")

    @property
    def shown(self) -> str:
        """Without the password."""
        return f"{self.scheme}://{self.host}:{self.port}{self.path if 'ws' in self.scheme else ''}"


def parse_broker(url: str) -> Broker:
    """mqtt://, mqtts://, ws:// and wss:// URLs. Raises Stop."""
    hint = "write mqtts://HOST:8883, wss://HOST/mqtt, or mqtt://127.0.0.1:1883"
    try:
        split = urlsplit(url)
        port = split.port
    except ValueError as error:
        raise Stop(str(error), what=url, hint=hint) from None
    if split.scheme not in PORTS or not split.hostname or port == 0 or any(ord(c) <= 32 for c in url):
        raise Stop("is no broker's address", what=url, hint=hint)
    web = split.scheme in ("ws", "wss")
    if (split.path not in ("", "/") and not web) or split.query or split.fragment:
        raise Stop("has a path or query", what=url, hint=hint)
    user, password = unquote(split.username or ""), unquote(split.password or "")
    return Broker(url, split.scheme, split.hostname, port or PORTS[split.scheme], split.path or "/mqtt", user, password)
