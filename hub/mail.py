"""A letter in; sent by SMTP, later and by a thread of its own, so that no request waits for a mail server or tells by its time.

What cannot be sent is tried again, then given up with a line in the log. Beyond loopback nothing goes without TLS.
"""

import logging
import smtplib
import ssl
import threading
from collections.abc import Callable, Sequence
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from heapq import heappop, heappush
from ipaddress import ip_address
from pathlib import Path
from time import monotonic
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from readings.errors import Stop

log = logging.getLogger("hub.mail")
QUEUED = 500
"""Letters that wait at most; a mail server that is away for long must not fill the memory."""
AGAIN_S = (2.0, 30.0, 300.0)
TIMEOUT_S = 15.0


class Letter(Struct, frozen=True):
    to: str
    subject: str
    text: str


class Server(Struct, frozen=True):
    """Where letters are handed in. `tls`: from the first byte, or by STARTTLS; None on loopback, where nobody listens."""

    host: str
    port: int
    tls: str | None
    user: str | None
    password: str | None
    sender: str


Write = Callable[[], Letter | None]
"""Makes a letter at its time, or finds that there is none to send."""


class Mailer:
    """Sends what `later` is given, in order of its time. Without a server it takes nothing."""

    def __init__(self, server: Server | None, *, again_s: Sequence[float] = AGAIN_S) -> None:
        self._server = server
        self._again_s = again_s
        self._queue: list[tuple[float, int, int, Write | Letter]] = []
        self._count = 0
        self._changed = threading.Condition()
        self._stopped = False
        self._thread: threading.Thread | None = None

    @property
    def sends(self) -> bool:
        """Whether this hub can send letters at all."""
        return self._server is not None

    def later(self, write: Write) -> None:
        """Returns at once. A queue that is full drops the letter with a line in the log."""
        if self._server is None:
            return
        with self._changed:
            if len(self._queue) >= QUEUED:
                log.warning("letter dropped why=queue full queued=%d", len(self._queue))
                return
            self._put(0.0, 0, write)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="mail", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Ends after the letter that is on its way; those that wait are not sent."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(2.0)

    def _put(self, wait_s: float, tried: int, what: "Write | Letter") -> None:
        self._count += 1
        heappush(self._queue, (monotonic() + wait_s, self._count, tried, what))
        self._changed.notify_all()

    def _run(self) -> None:
        while (due := self._next()) is not None:
            self._deliver(*due)

    def _next(self) -> "tuple[int, Write | Letter] | None":
        with self._changed:
            while not self._stopped:
                wait_s = self._queue[0][0] - monotonic() if self._queue else None
                if wait_s is not None and wait_s <= 0:
                    _, _, tried, what = heappop(self._queue)
                    return tried, what
                self._changed.wait(wait_s)
        return None

    def _deliver(self, tried: int, what: "Write | Letter") -> None:
        letter: Write | Letter | None = what
        try:
            letter = what if isinstance(what, Letter) else what()
            if letter is not None and self._server is not None:
                send(self._server, letter)
                log.info("letter sent subject=%r", letter.subject)
        except Exception as error:  # noqa: BLE001  # the thread's outermost loop: one letter must not stop the others
            gone = isinstance(error, smtplib.SMTPRecipientsRefused | UnicodeError | ValueError) or tried >= len(self._again_s)
            log.warning("letter not sent tried=%d again=%s why=%s", tried + 1, "no" if gone else "yes", error)
            if not gone:
                with self._changed:
                    self._put(self._again_s[tried], tried + 1, letter if isinstance(letter, Letter) else what)


def send(server: Server, letter: Letter) -> None:
    """Hands one letter to the server. Raises OSError and smtplib's SMTPException."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = server.sender, letter.to, letter.subject
    message["Date"] = formatdate(usegmt=True)
    message["Message-ID"] = make_msgid(domain=server.sender.rpartition("@")[2] or None)
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(letter.text)
    secure = ssl.create_default_context()
    if server.tls == "tls":
        opened: smtplib.SMTP = smtplib.SMTP_SSL(server.host, server.port, timeout=TIMEOUT_S, context=secure)
    else:
        opened = smtplib.SMTP(server.host, server.port, timeout=TIMEOUT_S)
    with opened as connection:
        if server.tls == "starttls":
            connection.starttls(context=secure)  # raises where the server offers none
        if server.user is not None:
            connection.login(server.user, server.password or "")
        connection.send_message(message)


def server_of(url: str, *, password_file: Path | None, sender: str | None, public_url: str | None) -> Server | None:
    """The server that SMTP_URL names, None for an empty one. Raises Stop for a password file that cannot be read."""
    if not url:
        return None
    parts = urlsplit(url)
    host = parts.hostname or ""
    whole = parts.scheme == "smtps"
    tls = "tls" if whole else None if _loopback(host) else "starttls"
    try:
        password = password_file.read_text().strip() if password_file else None
    except OSError as error:
        hint = "it must be readable by the account that runs the hub"
        raise Stop(f"{password_file}: {error.strerror}", what="SMTP_PASSWORD_FILE", hint=hint) from error
    user = unquote(parts.username) if parts.username else None
    own = urlsplit(public_url or "").hostname or "localhost"
    made = sender or (user if user and "@" in user else f"harmattan@{own}")
    return Server(host, parts.port or (465 if whole else 587), tls, user, password, made)


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
