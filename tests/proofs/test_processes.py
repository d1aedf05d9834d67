"""The real daemon, mosquitto and hub behind a bad link, killed and frozen at random; the oracle is the outbox's export."""

from pathlib import Path

import pytest

from tests.e2e.network import Network
from tests.faults.field import Field
from tests.faults.proxy import Proxy

pytestmark = [pytest.mark.server, pytest.mark.proof]
FAULTS = 15


@pytest.mark.timeout(400)
def test_kills_freezes_and_a_bad_link_lose_and_repeat_no_row(tmp_path: Path) -> None:
    with Network(tmp_path) as net, Proxy(net.mqtt_port, seed=1) as proxy:
        field = Field(net, proxy, tmp_path)
        field.shake(FAULTS, seed=11)
        assert field.settle() > 50, field.told
