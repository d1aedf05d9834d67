"""Stations and sensors made, changed and ended by people, in the caller's transaction. Who raises Problem has changed nothing.

A station keeps the name by which gateways call it, whatever people name it later: a renamed one is not made a second time.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, delete, exists, insert, select, update

from hub import problems
from hub.database.tables import deployment, event, gateway, network, sample, schema, sensor, station, swap
from hub.fleet.deployments import hold, move, stand_there
from hub.fleet.visibility import now
from hub.problems import Problem, invalid

COLUMNS: Mapping[str, str] = {"latitude": "lat", "longitude": "lon", "altitude_m": "alt", "timezone": "zone"}
"""The API's words for columns of `station`."""


def add_station(connection: Connection, network_id: int, values: Mapping[str, Any]) -> int:
    """A new station's id; its visibility is the network's unless told."""
    _free(connection, network_id, values["name"])
    usual = select(network.c.visibility).where(network.c.id == network_id)
    row = {COLUMNS.get(name, name): value for name, value in values.items() if name != "network"}
    row["visibility"] = row.get("visibility") or connection.execute(usual).scalar_one()
    made = connection.execute(insert(station).values(network=network_id, **row).returning(station.c.id))
    return int(made.scalar_one())


def change_station(connection: Connection, row: Row[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """What was changed, by the API's words."""
    changed = {name: value for name, value in values.items() if row._mapping[COLUMNS.get(name, name)] != value}
    if not changed:
        return {}
    columns = {COLUMNS.get(name, name): value for name, value in changed.items()}
    if "name" in columns:
        _free(connection, row.network, columns["name"])
        columns["site"] = row.site or row.name
    connection.execute(update(station).where(station.c.id == row.id).values(**columns))
    return changed


def close_station(connection: Connection, row: Row[Any]) -> None:
    """Nothing stands there any more; what it measured stays. One that never had a sensor goes."""
    if stand_there(connection, row.id):
        raise Problem(problems.IN_USE, "sensors stand here; move them first")
    if connection.execute(select(deployment.c.sensor).where(deployment.c.station == row.id).limit(1)).first() is None:
        connection.execute(delete(station).where(station.c.id == row.id))
    elif row.closed_ms is None:
        connection.execute(update(station).where(station.c.id == row.id).values(closed_ms=now()))


def target(row: Row[Any], network_id: int) -> int:
    """A station that sensors of a network may be moved to."""
    if row.network != network_id:
        raise invalid("station", "it is another network's; give the gateway to that network first", where="body")
    if row.closed_ms is not None:
        raise Problem(problems.STATION_CLOSED)
    return int(row.id)


def add_sensor(connection: Connection, owner: Row[Any], values: Mapping[str, Any]) -> int:
    """A new sensor's id, known before it first speaks."""
    same = (sensor.c.gateway == owner.id, sensor.c.local_id == values["local_id"])
    if connection.execute(select(sensor.c.id).where(*same)).first() is not None:
        raise Problem(problems.NAME_TAKEN, f"{owner.name} has a sensor {values['local_id']} already")
    row = {name: values.get(name) for name in ("local_id", "maker", "model", "serial")}
    made = connection.execute(insert(sensor).values(network=owner.network, gateway=owner.id, **row).returning(sensor.c.id))
    return int(made.scalar_one())


def change_sensor(connection: Connection, row: Row[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """What was changed. `height_m` and `indoor` are of the place where it stands now."""
    own = {name: value for name, value in values.items() if name in ("maker", "model", "serial")}
    place = {name: value for name, value in values.items() if name not in own}
    own = {name: value for name, value in own.items() if row._mapping[name] != value}
    if own:
        connection.execute(update(sensor).where(sensor.c.id == row.id).values(**own))
    if place:
        here = (deployment.c.sensor == row.id, deployment.c.to_ms.is_(None))
        if connection.execute(update(deployment).where(*here).values(**place)).rowcount == 0:
            raise Problem(problems.IN_USE, "it stands nowhere: move it to a station first, then say how high")
    return own | place


def remove_sensor(connection: Connection, row: Row[Any]) -> None:
    """Only one that nothing is known of goes."""
    hold(connection, [row.id])
    for table in (sample, schema, event):
        if connection.execute(select(exists().where(table.c.sensor == row.id))).scalar():
            raise Problem(problems.IN_USE, "it has spoken already; what it measured is kept")
    if connection.execute(select(exists().where(swap.c.sensor == row.id))).scalar():
        raise Problem(problems.IN_USE, "it was replaced, and rows of its time may still come")
    taken = (swap.c.gateway == row.gateway, swap.c.local_id == row.local_id)
    if connection.execute(select(exists().where(*taken))).scalar():
        raise Problem(problems.IN_USE, "it took the place of another sensor")
    connection.execute(delete(deployment).where(deployment.c.sensor == row.id))
    connection.execute(delete(sensor).where(sensor.c.id == row.id))


def standing_sensors(connection: Connection, gateway_id: int) -> list[int]:
    """A gateway's sensors that answer to it now."""
    asked = select(sensor.c.id).where(sensor.c.gateway == gateway_id, ~exists(select(1).where(swap.c.sensor == sensor.c.id)))
    return list(connection.execute(asked.order_by(sensor.c.id)).scalars())


def give(connection: Connection, row: Row[Any], network_id: int) -> int:
    """A gateway and its sensors become another network's; what they measured stays where it was measured.

    From now on they stand at stations of the other network, of the same names and at the same places, made where missing.
    Returns how many sensors.
    """
    sensors = standing_sensors(connection, row.id)
    hold(connection, sensors)
    at = now()
    open_ones = select(deployment.c.sensor, deployment.c.station).where(
        deployment.c.sensor.in_(sensors), deployment.c.to_ms.is_(None)
    )
    for one in connection.execute(open_ones.order_by(deployment.c.sensor)).all():
        move(connection, [one.sensor], _copy(connection, one.station, network_id), at)
    connection.execute(update(sensor).where(sensor.c.id.in_(sensors)).values(network=network_id))
    connection.execute(update(gateway).where(gateway.c.id == row.id).values(network=network_id))
    return len(sensors)


def _copy(connection: Connection, station_id: int, network_id: int) -> int:
    row = connection.execute(select(station).where(station.c.id == station_id)).one()
    same = (station.c.network == network_id, station.c.name == (row.site or row.name))
    found = connection.execute(select(station.c.id).where(*same)).scalar()
    if found is not None:
        connection.execute(update(station).where(station.c.id == found).values(closed_ms=None))
        return int(found)
    values = {"name": row.site or row.name, "lat": row.lat, "lon": row.lon, "alt": row.alt, "zone": row.zone}
    usual = connection.execute(select(network.c.visibility).where(network.c.id == network_id)).scalar_one()
    stricter = "private" if "private" in (usual, row.visibility) else "coarse" if "coarse" in (usual, row.visibility) else usual
    made = connection.execute(insert(station).values(network=network_id, visibility=stricter, **values).returning(station.c.id))
    return int(made.scalar_one())


def _free(connection: Connection, network_id: int, name: str) -> None:
    """No other station of this network has or had this name for gateways."""
    mine = (station.c.network == network_id, (station.c.name == name) | (station.c.site == name))
    if connection.execute(select(station.c.id).where(*mine)).first() is not None:
        raise Problem(problems.NAME_TAKEN, "this network has a station of this name, or one that gateways call so")
