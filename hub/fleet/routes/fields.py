"""What people send to the fleet's routes, field by field: closed objects, capped texts, nothing that a database cannot store."""

from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, Literal, Self
from zoneinfo import available_timezones

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from hub.answers import EPOCH, MILLISECOND
from hub.auth.routes.fields import Email
from hub.auth.tokens import NetworkRole
from hub.fleet.broker import RESERVED

HIGHEST_ID = (1 << 63) - 1
LONGEST_EMBARGO_S = 10 * 366 * 86_400
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)


def _printable(text: str) -> str:
    made = text.strip()
    if not made or not made.isprintable():
        raise ValueError("it is empty, or has a character that cannot be shown, such as NUL or a line's end")
    return made


def _paragraph(text: str) -> str:
    if not text.replace("\n", " ").isprintable():
        raise ValueError("it has a character that cannot be shown, such as NUL")
    return text.strip()


def _zone(text: str) -> str:
    if text not in _zones():
        raise ValueError("it is no time zone; write it like Africa/Lagos")
    return text


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _free(name: str) -> str:
    if name in RESERVED:
        raise ValueError("this name is the broker's own")
    return name


def _instant(at: datetime) -> datetime:
    if not _FIRST <= at <= _LAST:
        raise ValueError("it lies before 1970 or after 9999")
    return at


Text = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
Paragraph = Annotated[str, Field(max_length=2000), AfterValidator(_paragraph)]
Number = Annotated[int, Field(ge=1, le=HIGHEST_ID)]
Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{1,62}$")]
GatewayName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{1,30}$"), AfterValidator(_free)]
LocalId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,30}$")]
Visibility = Literal["public", "coarse", "private"]
Embargo = Annotated[int, Field(ge=0, le=LONGEST_EMBARGO_S)]
Latitude = Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)]
Longitude = Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)]
Altitude = Annotated[float, Field(ge=-1000, le=10_000, allow_inf_nan=False)]
Height = Annotated[float, Field(ge=-100, le=1000, allow_inf_nan=False)]
Zone = Annotated[str, Field(max_length=64), AfterValidator(_zone)]
Instant = Annotated[AwareDatetime, AfterValidator(_instant)]


def _example(**values: Any) -> ConfigDict:
    return ConfigDict(extra="forbid", populate_by_name=False, json_schema_extra={"example": values})


class Nothing(BaseModel):
    """No field at all."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {}})


class NewNetwork(BaseModel):
    model_config = _example(slug="unilag", name="University of Lagos", visibility="coarse", licence="CC-BY-4.0")

    slug: Slug
    name: Text
    visibility: Visibility = "public"
    licence: Text | None = None
    attribution: Paragraph | None = None
    embargo_s: Embargo = 0


class NetworkChange(BaseModel):
    model_config = _example(embargo_s=604_800, attribution="University of Lagos, air quality group")

    name: Text = ""
    visibility: Visibility = "public"
    licence: Text | None = None
    attribution: Paragraph | None = None
    embargo_s: Embargo = 0


class NewMember(BaseModel):
    model_config = _example(email="ada@example.org", role="operator")

    email: Email
    role: NetworkRole


class MemberChange(BaseModel):
    model_config = _example(role="viewer")

    role: NetworkRole


class _Place(BaseModel):
    latitude: Latitude | None = None
    longitude: Longitude | None = None

    @model_validator(mode="after")
    def whole(self) -> Self:
        """Half a place is none."""
        if (self.latitude is None) != (self.longitude is None):
            raise ValueError("latitude and longitude come together")
        return self


class NewStation(_Place):
    model_config = _example(network=1, name="UNILAG gate", latitude=6.5158, longitude=3.3898, timezone="Africa/Lagos")

    network: Number
    name: Text
    altitude_m: Altitude | None = None
    timezone: Zone | None = None
    visibility: Visibility | None = None


class StationChange(_Place):
    model_config = _example(visibility="coarse")

    name: Text = ""
    altitude_m: Altitude | None = None
    timezone: Zone | None = None
    visibility: Visibility = "public"


class NewSensor(BaseModel):
    model_config = _example(gateway="school-01", local_id="pm", maker="plantower", model="pms5003", station=1)

    gateway: GatewayName
    local_id: LocalId
    maker: Text | None = None
    model: Text | None = None
    serial: Text | None = None
    station: Number | None = None


class SensorChange(BaseModel):
    model_config = _example(serial="P-2291", height_m=2.5, indoor=False)

    maker: Text | None = None
    model: Text | None = None
    serial: Text | None = None
    height_m: Height | None = None
    indoor: bool | None = None


class _At(BaseModel):
    from_: Instant | None = Field(default=None, alias="from", description="When it happened; now unless told.")

    @property
    def from_ms(self) -> int | None:
        return None if self.from_ is None else (self.from_ - EPOCH) // MILLISECOND


class Move(_At):
    """From this time on it stands at this station."""

    model_config = _example(**{"station": 2, "from": "2026-11-24T12:00:00Z"})

    station: Number


class Swap(_At):
    """Another device takes the place from this time on."""

    model_config = _example(**{"serial": "P-2292", "from": "2026-11-24T12:00:00Z"})

    serial: Text | None = None
    maker: Text | None = None
    model: Text | None = None


class NewGateway(BaseModel):
    model_config = _example(name="unilag-02", network=1, kind="edge")

    name: GatewayName
    network: Number
    kind: Literal["edge", "push"] = "edge"
    visibility: Visibility | None = None


class GatewayChange(BaseModel):
    model_config = _example(network=2)

    network: Number


class NewGatewayKey(BaseModel):
    model_config = _example(name="school yard")

    name: Text
    expires: Instant | None = None

    @property
    def expires_ms(self) -> int | None:
        return None if self.expires is None else (self.expires - EPOCH) // MILLISECOND


def given(body: BaseModel) -> dict[str, Any]:
    """What a change names, and nothing else: null clears a field, what is left out stays."""
    return body.model_dump(include=body.model_fields_set)
