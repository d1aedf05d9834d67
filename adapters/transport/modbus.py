"""Modbus TCP: a request out, the words of its answer in. One connection per host and port, shared by all units behind it."""

import logging
import time
from collections import Counter
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from adapters.decode.modbus import Block, Request
from adapters.decode.reading import Fault
from adapters.profile import Command
from adapters.transport.base import LinkFailed, Refused, Unanswered

if TYPE_CHECKING:
    from pymodbus.client import ModbusTcpClient


class Connection:
    """Opened by the first sensor that needs it; a failed request closes it, so that no late answer meets the next request."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self._client: ModbusTcpClient | None = None
        self._users = 0
        self._heard = b""

    def open(self) -> None:
        """Does not connect yet: `ask` does, and again after a failure."""
        self._users += 1

    def close(self) -> None:
        self._users = max(0, self._users - 1)
        if self._users == 0:
            self._drop()

    def ask(self, unit: int, request: Request, timeout_s: float, counted: Counter[str]) -> tuple[Block | Fault, bytes]:
        """The words (or what the device refuses) and the bytes of the answer. Raises Unanswered, Refused, LinkFailed."""
        from pymodbus.exceptions import ConnectionException, ModbusException

        where = f"{self.host}:{self.port}"
        began = time.monotonic()
        self._heard = b""
        client = self._connected(max(0.05, timeout_s))
        left_s = max(0.05, timeout_s - (time.monotonic() - began))
        client.comm_params.timeout_connect = client.transaction.comm_params.timeout_connect = left_s
        read = client.read_input_registers if request.function == 4 else client.read_holding_registers
        try:
            answer: Any = read(request.address, count=request.count, device_id=unit)
        except ConnectionException as error:
            self._drop()
            raise LinkFailed("the connection was cut", what=where, hint="does another client use its only connection?") from error
        except (ModbusException, OSError) as error:
            heard = self._heard
            self._drop()
            if heard:
                return Fault("truncated" if len(heard) < 9 + 2 * request.count else "wrong_transaction", heard.hex()), heard
            why = f"unit {unit} does not answer in {timeout_s:.3g} s"
            raise Unanswered(why, what=where, hint="is the unit number right, and the device behind it on?") from error
        return self._checked(answer, request), self._heard

    def _checked(self, answer: Any, request: Request) -> Block | Fault:
        if answer.isError():
            return Fault(f"modbus_exception:{getattr(answer, 'exception_code', 0)}")
        if answer.function_code != request.function:
            return Fault("wrong_function", f"{answer.function_code}, asked was {request.function}")
        words = tuple(answer.registers)
        if len(words) != request.count:
            return Fault("bad_length", f"{len(words)} words, asked was for {request.count}")
        return Block(request.function, request.address, words)

    def tell(self, unit: int, command: Command) -> None:
        """Sends a command that writes one register or one coil. Raises Unanswered, Refused, LinkFailed."""
        from pymodbus.exceptions import ModbusException

        client, data, where = self._connected(command.timeout_s), command.data, f"{self.host}:{self.port}, unit {unit}"
        address, value = int.from_bytes(data[1:3], "big"), int.from_bytes(data[3:5], "big")
        try:
            answer: Any = (
                client.write_coil(address, value != 0, device_id=unit)
                if data[0] == 5
                else client.write_register(address, value, device_id=unit)
            )
        except (ModbusException, OSError) as error:
            self._drop()
            raise Unanswered("does not answer a command", what=where, hint="is the unit number right, and it on?") from error
        if answer.isError():
            raise Refused("refuses a command", what=where, hint="does this model know it? look at `open` in its profile")
        if command.pause_s:
            time.sleep(command.pause_s)

    def _connected(self, timeout_s: float) -> "ModbusTcpClient":
        if self._client is None:
            # here, not above: it brings asyncio and takes 14 MiB, which a gateway without Modbus must not pay
            from pymodbus.client import ModbusTcpClient

            logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # its failures come as exceptions, and are told once
            self._client = ModbusTcpClient(
                self.host, port=self.port, timeout=timeout_s, retries=0, reconnect_delay=0, trace_packet=self._trace
            )
        if not self._client.connected:
            self._client.comm_params.timeout_connect = timeout_s
            began = time.monotonic()
            if not self._client.connect():  # type: ignore[no-untyped-call]
                self._drop()
                where = f"{self.host}:{self.port}"
                if time.monotonic() - began >= timeout_s * 0.9:
                    raise Unanswered("cannot be reached", what=where, hint="is it on, and its address right?")
                raise Refused("takes no connection", what=where, hint="is its address right, and Modbus TCP switched on?")
        return self._client

    def _trace(self, sending: bool, data: bytes) -> bytes:
        if not sending:
            self._heard = bytes(data)
        return data

    def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()  # type: ignore[no-untyped-call]


_shared: WeakValueDictionary[tuple[str, int], Connection] = WeakValueDictionary()


def connection_to(host: str, port: int) -> Connection:
    """The one connection to this host and port within this program."""
    connection = _shared.get((host, port))
    if connection is None:
        connection = _shared[host, port] = Connection(host, port)
    return connection
