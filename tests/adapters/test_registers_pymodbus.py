"""The other side is pymodbus: what it serves we read, what our simulator serves it reads. Over TCP and a serial line."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pymodbus.client import ModbusSerialClient, ModbusTcpClient
from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
from pymodbus.server import ModbusTcpServer

from adapters.catalogue import Catalogue
from adapters.decode.modbus import register
from adapters.decode.registers import encoder
from adapters.sensor import open_sensor
from adapters.transport.base import Garbage, Refused, parse_address
from edge.config import load_network
from edge.simulate import playing
from tests.servers import free_port, listens, wait_until

TRUTH = {"temperature": 27.98, "relative_humidity": 68.34, "pressure": 1003.09, "light": 391.68}


@pytest.fixture
def weather(catalogue: Catalogue) -> Iterator[int]:
    """A pymodbus server with an ORCH S4 at unit 5; its port."""
    image = encoder(catalogue.get("sensecap.orch-s4"))(TRUTH)
    words = [image[register(3, at)] for at in range(6)]
    device = ModbusDeviceContext(hr=ModbusSequentialDataBlock(1, words))  # type: ignore[no-untyped-call]
    port, loop, ended = free_port(), asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        server = ModbusTcpServer(ModbusServerContext({5: device}, single=False), address=("127.0.0.1", port))
        serving = asyncio.ensure_future(server.serve_forever())
        await ended.wait()
        await server.shutdown()  # type: ignore[no-untyped-call]
        serving.cancel()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    wait_until(lambda: listens(port), "pymodbus's server")
    yield port
    loop.call_soon_threadsafe(ended.set)
    thread.join(5)


def test_what_pymodbus_serves_is_read(weather: int, catalogue: Catalogue) -> None:
    profile = catalogue.get("sensecap.orch-s4")
    sensor = open_sensor(profile, parse_address(f"modbus-tcp://127.0.0.1:{weather}?unit=5", Path()), sensor_id="w", every_s=60)
    answer = sensor.sample(3)
    named = {
        c.parameter: v * 10.0**c.exponent for c, v in zip(sensor.schema.channels, answer.values, strict=True) if v is not None
    }
    assert named == pytest.approx(TRUTH)
    sensor.close()


def test_registers_that_pymodbus_does_not_have_are_refused_by_name(weather: int, catalogue: Catalogue) -> None:
    profile = catalogue.get("kicer.rs485-sht3x")
    sensor = open_sensor(profile, parse_address(f"modbus-tcp://127.0.0.1:{weather}?unit=5", Path()), sensor_id="w", every_s=60)
    with pytest.raises(Refused, match="modbus_exception:2"):
        sensor.sample(3)
    sensor.close()


def test_pymodbus_reads_the_units_of_the_simulator(tmp_path: Path) -> None:
    port = free_port()
    file = tmp_path / "network.yaml"
    file.write_text(f"""\
sensors:
  - {{id: one, profile: generic.xy-md02, at: "modbus-tcp://127.0.0.1:{port}?unit=1"}}
  - {{id: two, profile: senseair.s8, at: "modbus-tcp://127.0.0.1:{port}?unit=2"}}
  - {{id: three, profile: generic.xy-md02, at: "modbus-rtu:bus?unit=3"}}
  - {{id: four, profile: senseair.s8, at: "modbus-rtu:bus?unit=4"}}
""")
    with playing(load_network(file)):
        clients = ModbusTcpClient("127.0.0.1", port=port), ModbusSerialClient(str(tmp_path / "bus"), baudrate=9600, timeout=2)
        for client, air, gas in zip(clients, (1, 3), (2, 4), strict=True):
            assert client.connect()
            air_words = client.read_input_registers(1, count=2, device_id=air).registers
            assert 200 < air_words[0] < 400, "tenths of degrees in Lagos"
            assert client.read_input_registers(0, count=4, device_id=gas).registers[3] > 300
            assert client.read_holding_registers(31, count=1, device_id=gas).registers == [180]
            assert client.read_holding_registers(1, count=2, device_id=air).isError()
            client.close()  # type: ignore[no-untyped-call]


def test_a_port_that_speaks_something_else_is_garbage_not_a_value(catalogue: Catalogue) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            link = server.accept()[0]
            link.sendall(b"220 mail.example.org ESMTP ready\r\n")
            link.recv(100)

        threading.Thread(target=greet, daemon=True).start()
        address = parse_address(f"modbus-tcp://127.0.0.1:{server.getsockname()[1]}", Path())
        sensor = open_sensor(catalogue.get("generic.xy-md02"), address, sensor_id="x", every_s=60)
        with pytest.raises(Garbage, match="bad_header"):
            sensor.sample(0.5)
        sensor.close()
