"""Instruments that write lines, simulated and read as a gateway would."""

from pathlib import Path

import pytest

from adapters.sensor import open_sensor
from edge.config import load_network
from edge.simulate import playing
from tests.servers import wait_until

SENSORS = {
    "metone.bam1020": {"pm", "temperature", "pressure"},
    "metone.bam1022": {"pm_hourly", "battery_voltage"},
    "dylos.dc1700": {"n_gt_0_5um", "n_gt_2_5um"},
    "gps.nmea": {"latitude", "longitude", "altitude", "ground_speed"},
    "vaisala.wxt5xx": {"wind_speed", "temperature", "supply_voltage"},
}


@pytest.mark.parametrize("profile", SENSORS)
def test_a_simulated_instrument_is_read_and_its_log_says_the_same(profile: str, tmp_path: Path) -> None:
    file, log = tmp_path / "network.yaml", tmp_path / "log.ndjson"
    file.write_text(f'seed: 1\nsensors:\n  - {{id: one, profile: {profile}, at: "serial:dev/one", every: 60s}}\n')
    network = load_network(file)
    (config,) = network.sensors
    with playing(network, log):
        sensor = open_sensor(config.profile, config.address, sensor_id="one", every_s=60)
        answer = sensor.sample(5)
        sensor.close()
        wait_until(lambda: log.exists() and log.stat().st_size > 0, "a line in the log")
    got = dict(zip([channel.parameter for channel in sensor.schema.channels], answer.values, strict=True))
    assert {name for name in SENSORS[profile] if got[name] is not None} == SENSORS[profile]
    assert set(answer.flags) <= {1, 9}
    assert '"hex":' in log.read_text()
