"""Names that rows use in; gateways that the caller may post for, and what is known of their sensors, out. For one request."""

from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, select

from adapters.catalogue import Catalogue
from adapters.profile import Field
from hub.auth.rights import may
from hub.auth.tokens import Caller, NetworkRole
from hub.database.tables import gateway, schema, sensor
from hub.front.json_rows import STREAM
from hub.ingestion.refusals import Refused
from hub.ingestion.rows import Sentinels
from readings.errors import Stop
from readings.sample import Schema
from readings.units import spelled

NOTHING: frozenset[Decimal] = frozenset()


class Home(NamedTuple):
    """A gateway that the caller may post for."""

    id: int
    network: int


class Sensors:
    """Looks each name up once."""

    def __init__(self, connection: Connection, caller: Caller) -> None:
        self._connection = connection
        self._caller = caller
        self._homes: dict[str | None, Home | None] = {}
        self.schemas: dict[tuple[int, str], Schema] = {}
        """The newest of each sensor that was asked for: of what was posted, else of its gateway's link, without channels."""
        self._sentinels: dict[tuple[int, str], Sentinels] = {}

    def find(self, called: str | None, local_id: str) -> tuple[int, Sentinels]:
        """`called` None: the caller is a gateway. Raises Refused for one that is not there or not theirs, alike."""
        home = self.home(called)
        if home is None and called is None:
            raise Refused("sensor_malformed", "without a gateway's key a sensor is named <gateway>/<local id>")
        if home is None:
            raise Refused("sensor_unknown", f"there is no gateway '{called}' that you may post for")
        names = (home.id, local_id)
        if names not in self._sentinels:
            found = self._newest(*names)
            if found is not None:
                self.schemas[names] = found
            self._sentinels[names] = sentinels_of(None if found is None else found.profile)
        return home.id, self._sentinels[names]

    def home(self, called: str | None) -> Home | None:
        if called not in self._homes:
            self._homes[called] = self._looked_up(called)
        return self._homes[called]

    def _looked_up(self, called: str | None) -> Home | None:
        own = self._caller.gateway
        if called is None and own is None:
            return None
        asked = select(gateway.c.id, gateway.c.network).where(gateway.c.revoked_ms.is_(None))
        asked = asked.where(gateway.c.id == own) if called is None else asked.where(gateway.c.name == called)
        row = self._connection.execute(asked).one_or_none()
        if row is None:
            return None
        allowed = row.id == own if own is not None else may(self._caller, row.network, NetworkRole.OPERATOR)
        return Home(row.id, row.network) if allowed else None

    def _newest(self, gateway_id: int, local_id: str) -> Schema | None:
        asked = (
            select(schema.c.content, schema.c.stream)
            .join(sensor, sensor.c.id == schema.c.sensor)
            .where(sensor.c.gateway == gateway_id, sensor.c.local_id == local_id)
            .order_by((schema.c.stream == STREAM).desc(), schema.c.id.desc())
            .limit(1)
        )
        row = self._connection.execute(asked).one_or_none()
        if row is None:
            return None
        found = msgspec.json.decode(row.content, type=Schema)
        return found if row.stream == STREAM else msgspec.structs.replace(found, channels=())


def sentinels_of(profile: str | None) -> Sentinels:
    """What a shipped profile lists as no value, as the device itself would send it."""
    fields = _fields(profile) if profile is not None else {}

    def listed(parameter: str, unit: str) -> frozenset[Decimal]:
        field = fields.get(parameter)
        if field is None or not field.sentinels or field.scale != 1 or field.offset or spelled(unit) != spelled(field.unit):
            return NOTHING
        return frozenset(Decimal(repr(number)) for number in field.sentinels)

    return listed


@cache
def catalogue() -> Catalogue:
    """The shipped profiles, read as they are asked for."""
    return Catalogue.load()


def _fields(profile: str) -> Mapping[str, Field]:
    try:
        return catalogue().get(profile).every
    except Stop:
        return {}
