"""Settings in; how the hub itself reaches its broker out: MQTT_URL and its password file, else the account that `broker` kept."""

from msgspec import Struct

from adapters.transport.mqtt import parse_broker
from hub.fleet.broker import kept_account
from hub.settings import Settings
from readings.errors import Stop


class Account(Struct, frozen=True):
    """`user` and `password` are None for a broker that lets anybody in."""

    url: str
    user: str | None
    password: str | None


def broker_account(settings: Settings) -> Account:
    """Raises Stop for a password file or broker.json that cannot be read."""
    user = parse_broker(settings.mqtt_url).user or None
    path = settings.mqtt_password_file
    if user is None and path is None and (kept := kept_account(settings.data_dir)):
        url = settings.mqtt_url if "mqtt_url" in settings.model_fields_set else kept.url
        return Account(url, kept.user, kept.password)
    try:
        password = path.read_text().strip() if path else None
    except (OSError, UnicodeDecodeError) as error:
        hint = "make it a file with the password alone, which the hub's user may read"
        raise Stop(f"{path} cannot be read: {error}", what="MQTT_PASSWORD_FILE", hint=hint) from error
    return Account(settings.mqtt_url, user or ("hub" if password else None), password)
