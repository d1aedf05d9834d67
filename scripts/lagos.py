"""A folder in; six gateways of an invented Lagos network out, as the files that harmattan-edge and its simulator read."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml
from msgspec import Struct

SEED = 1
EVERY = "2s"


class Site(Struct, frozen=True):
    name: str
    lat: float
    lon: float
    alt_m: float
    devices: tuple[str, ...]
    """pm: PMS5003 on a serial line, box: AirGradient on HTTP, meter: SDM230 on Modbus TCP."""


SITES = (
    Site("UNILAG gate", 6.5158, 3.3898, 12, ("pm", "meter")),
    Site("Oshodi interchange", 6.5550, 3.3430, 24, ("box",)),
    Site("Ikeja, Allen Avenue", 6.6018, 3.3515, 39, ("pm",)),
    Site("Apapa, Wharf Road", 6.4480, 3.3640, 6, ("pm", "meter")),
    Site("Lekki Phase 1", 6.4474, 3.4723, 4, ("box", "pm")),
    Site("Makoko waterfront", 6.4958, 3.3927, 3, ("box", "meter")),
)
PROFILES = {"pm": "plantower.pms5003", "box": "airgradient.local", "meter": "eastron.sdm230"}


class Gateway(Struct, frozen=True):
    name: str
    station: str
    sensors: tuple[str, ...]
    config: Path
    credential: Path
    store: Path
    socket: Path


def write(folder: Path, mqtt_url: str, modbus_port: int, http_port: int) -> list[Gateway]:
    """Writes edge/<gateway>/gateway.yaml for each site, and network.yaml with all their sensors for the simulator."""
    gateways, everything = [], []
    for number, site in enumerate(SITES, start=1):
        sensors = list(_sensors(folder, number, site, modbus_port, http_port))
        everything += sensors
        gateways.append(_gateway(folder, number, site, sensors, mqtt_url))
    _save(folder / "network.yaml", {"seed": SEED, "sensors": everything})
    return gateways


def _gateway(folder: Path, number: int, site: Site, sensors: Sequence[dict[str, str]], mqtt_url: str) -> Gateway:
    name = f"demo-{number:02}"
    home = folder / "edge" / name
    home.mkdir(parents=True, exist_ok=True)
    gateway = Gateway(
        name,
        site.name,
        tuple(sensor["id"] for sensor in sensors),
        home / "gateway.yaml",
        home / "credential",
        home / "outbox.db",
        home / "edge.sock",
    )
    place = {"name": site.name, "lat": site.lat, "lon": site.lon, "alt_m": site.alt_m, "zone": "Africa/Lagos"}
    settings = {
        "gateway": name,
        "site": place,
        "hub": {"mqtt": [mqtt_url], "credential": str(gateway.credential)},
        "link": "open",
        "store": {"path": str(gateway.store), "quota": "256MiB"},
        "control": str(gateway.socket),
        "sensors": list(sensors),
    }
    _save(gateway.config, settings)
    return gateway


def _sensors(folder: Path, number: int, site: Site, modbus_port: int, http_port: int) -> Iterator[dict[str, str]]:
    for device in site.devices:
        sensor = f"{device}-{number:02}"
        at = {
            "pm": f"serial:{folder / 'dev' / sensor}",
            "box": f"http://127.0.0.1:{http_port}/{sensor}/measures/current",
            "meter": f"modbus-tcp://127.0.0.1:{modbus_port}?unit={number}",
        }[device]
        yield {"id": sensor, "profile": PROFILES[device], "at": at, "every": EVERY}


def _save(path: Path, content: object) -> None:
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120))
