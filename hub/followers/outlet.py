"""Telemetry's own connection to the broker: retained messages out, each taken by the broker's queue or refused aloud."""

import logging
import secrets
import threading

from adapters.transport.mqtt import Client
from hub.front.broker_account import Account, broker_account
from hub.settings import Settings
from readings.errors import Retry, Stop

log = logging.getLogger(__name__)

PATIENCE_S = 10.0


class MqttOutlet:
    """An Outlet (hub.followers.telemetry). `look` opens the connection, anew when the account has changed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._account: Account | None = None
        self._client: Client | None = None
        self._made = 0
        self._taken = 0
        self._room = threading.Condition()
        self._why = "not started"

    @property
    def connections(self) -> int:
        return self._made if self._client is not None and self._client.connected else 0

    @property
    def why(self) -> str:
        """Why there is no connection; '' while there is one."""
        return "" if self.connections else self._why

    def look(self) -> None:
        try:
            account = broker_account(self._settings)
        except Stop as error:
            self._why = str(error)
            return
        if account == self._account:
            return
        self.stop()
        self._account = account
        self._client = Client(
            account.url,
            client_id=f"hub-telemetry-{secrets.token_hex(4)}",
            username=account.user,
            password=account.password,
            on_connected=self._connected,
            on_disconnected=self._lost,
            on_published=self._published,
        )
        self._client.start()

    def publish(self, topic: str, payload: bytes) -> None:
        """Waits for room in the queue of what the broker has not taken yet. Raises Retry when the connection is gone."""
        began = self.connections
        while True:
            taken = self._taken
            # Never with `_room` held: paho calls `_published` under a lock that its `publish` wants too.
            if self._client is not None and self._client.publish(topic, payload, 1, retain=True) is not None:
                return
            if not began or not self._room_after(taken, began):
                raise Retry(self._why or "the broker takes nothing", what="telemetry")

    def _room_after(self, taken: int, began: int) -> bool:
        """Waits until the broker has taken one more message; False when it does not, or the connection is another one by then."""
        with self._room:
            self._room.wait_for(lambda: self._taken != taken or self.connections != began, PATIENCE_S)
            return self._taken != taken and self.connections == began

    def stop(self) -> None:
        if self._client is not None:
            self._client.stop()
            self._client = None

    def _connected(self) -> None:
        self._made += 1
        self._why = ""

    def _lost(self, why: str) -> None:
        self._why = why
        with self._room:
            self._room.notify_all()

    def _published(self, _mid: int, _reason: int) -> None:
        with self._room:
            self._taken += 1
            self._room.notify_all()
