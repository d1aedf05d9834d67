"""A face in; two networks side by side out, with people, keys and objects of each kind in both: what one may do to the other.

Network A is the default one; B is private. `Town.known` gives the ids of a network's objects by the path up to the parameter that
names them, as the API's document writes it: `/stations/`, `/gateways/{}/keys/`.
"""

import re
import secrets
from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from sqlalchemy import Row, Table, insert, select, update

from hub.auth.callers import key_hash
from hub.auth.tokens import Caller, NetworkRole, Role
from hub.database import tables
from tests.hub.face import DAY_MS, Face, now_ms

API = "/api/v1"
SIDES = ("a", "b")
PARAMETER = re.compile(r"\{[^}]*\}")


class Town(Struct, frozen=True):
    """`tokens`: of ann and bob, admins of A and B; vic and vera, their viewers; root, the hub's admin. `keys`: their API keys.

    `known`: side -> {prefix of a path: ids of what stands there}.
    """

    tokens: Mapping[str, str]
    keys: Mapping[str, str]
    known: Mapping[str, Mapping[str, tuple[int | str, ...]]]

    def ids(self, path: str, side: str) -> list[tuple[int | str, ...]]:
        """What may stand in each parameter of a path, from left to right; () for what this town does not have."""
        ends = [path[: match.start()].removeprefix(API) for match in PARAMETER.finditer(path)]
        return [self.known[side].get(PARAMETER.sub("{}", prefix), ()) for prefix in ends]


def add(face: Face, table: Table, **values: Any) -> Row[Any]:
    """The primary key of one row more."""
    with face.database.write() as connection:
        made = connection.execute(insert(table).values(values)).inserted_primary_key
    assert made is not None
    key: Row[Any] = made
    return key


def settle_town(face: Face) -> Town:
    """Two networks in a face that had nothing."""
    for side in SIDES:
        face.station(f"gate-{side}1", samples=3)
    other = add(face, tables.network, slug="other", name="Other", visibility="private", created_ms=now_ms())[0]
    _move(face, "gate-b1", other)
    networks = {"a": 1, "b": other}
    tokens = {"root": face.person("root@example.org", role=Role.ADMIN)}
    for (admin, viewer), network in zip((("ann", "vic"), ("bob", "vera")), networks.values(), strict=True):
        tokens[admin] = face.person(f"{admin}@example.org", networks={network: NetworkRole.ADMIN})
        tokens[viewer] = face.person(f"{viewer}@example.org", networks={network: NetworkRole.VIEWER})
    keys: dict[str, str] = {}
    known = {side: _known(face, side, network, keys) for side, network in networks.items()}
    return Town(tokens, keys, known)


def again(face: Face, name: str) -> str:
    """The token of one session more of somebody in a town."""
    with face.database.read() as connection:
        own, role = connection.execute(
            select(tables.account.c.id, tables.account.c.role).where(tables.account.c.name == name)
        ).one()
    at, sid = now_ms(), secrets.token_hex(16)
    add(face, tables.session, id=sid, account=own, created_ms=at, seen_ms=at, expires_ms=at + DAY_MS)
    return str(face.app.state.tokens.sign(Caller(name, Role(role), {}, account=own, session=sid)))


def _move(face: Face, gateway: str, network: int) -> None:
    """A gateway with its sensor and station into another network, the station private."""
    with face.database.write() as connection:
        own = connection.execute(select(tables.gateway.c.id).where(tables.gateway.c.name == gateway)).scalar_one()
        connection.execute(update(tables.gateway).where(tables.gateway.c.id == own).values(network=network))
        connection.execute(update(tables.sensor).where(tables.sensor.c.gateway == own).values(network=network))
        moved = update(tables.station).where(tables.station.c.name == gateway)
        connection.execute(moved.values(network=network, visibility="private"))


def _known(face: Face, side: str, network: int, keys: dict[str, str]) -> dict[str, tuple[int | str, ...]]:
    """The ids of one side's objects; its people and its gateway get an API key each."""
    gateway, person = f"gate-{side}1", {"a": "ann", "b": "bob"}[side]
    with face.database.read() as connection:
        of_gateway = connection.execute(select(tables.gateway.c.id).where(tables.gateway.c.name == gateway)).scalar_one()
        sensor = connection.execute(select(tables.sensor.c.id).where(tables.sensor.c.gateway == of_gateway)).scalar_one()
        station = connection.execute(select(tables.station.c.id).where(tables.station.c.name == gateway)).scalar_one()
        account = connection.execute(select(tables.account.c.id).where(tables.account.c.name == person)).scalar_one()
        session = connection.execute(select(tables.session.c.id).where(tables.session.c.account == account)).scalar_one()
    own = _key(face, keys, person, scopes="read write ingest", account=account)
    pushed = _key(face, keys, gateway, scopes="ingest", gateway=of_gateway)
    return {
        "/networks/": (network,), "/networks/{}/members/": (account,), "/stations/": (station,), "/sensors/": (sensor,),
        "/gateways/": (gateway,), "/gateways/{}/keys/": (pushed,), "/auth/keys/": (own,), "/auth/sessions/": (session,),
        "/users/": (account,), "/push/airrohr/": (keys[gateway],), "/push/airgradient/": (keys[gateway],),
        "/push/airgradient/{}/sensors/": ("ag-1",),
    }  # fmt: skip


def _key(face: Face, keys: dict[str, str], whose: str, **values: Any) -> int:
    keys[whose] = key = secrets.token_hex(32)
    told = {"hash": key_hash(key), "hint": key[:4], "name": "test", "created_ms": now_ms()}
    return int(add(face, tables.api_key, **told, **values)[0])
