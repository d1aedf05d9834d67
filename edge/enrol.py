"""A hub's address and a one-time token in; this gateway's credential file out, whole or not at all.

A token works once, so everything that can fail on this side is tried before the token is sent.
"""

import contextlib
import http.client
import json
import os
import ssl
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from edge.config import DEFAULT_CREDENTIAL, Credential, is_loopback, read_credential
from readings.errors import Retry, Stop, Trouble

PATH = "/api/v1/enrol"
TIMEOUT_S = 15.0
MAX_ANSWER_BYTES = 1 << 16
NEW_TOKEN = "ask for a new one: harmattan-hub gateway enrol NAME"  # noqa: S105  a hint, not a secret
HINTS = {
    "enrolment-token-used": f"if this gateway has no credential file, revoke it at the hub and {NEW_TOKEN}",
    "enrolment-token-expired": NEW_TOKEN,
    "enrolment-token-revoked": NEW_TOKEN,
    "enrolment-token-cut": "copy the whole line that harmattan-hub gateway enrol printed",
    "enrolment-token-unknown": f"check the hub's address, or {NEW_TOKEN}",
}


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A token goes where the person said, and nowhere else."""

    def redirect_request(self, *_: Any) -> None:
        return None


def enrol(hub_url: str, token: str, *, out: Path | None = None, usb: Path | None = None) -> tuple[Credential, Path]:
    """Trades the token. `out`: the file; `usb`: a stick's folder, for a gateway without internet: <gateway>.credential there.

    Raises Stop or Retry with one line; then no file has been written or changed.
    """
    url, token = endpoint(hub_url), token.strip()
    if not token or any(letter.isspace() for letter in token):
        raise Stop("it is empty or has a blank in it", what="token", hint=HINTS["enrolment-token-cut"])
    target = usb / "credential" if usb else out or DEFAULT_CREDENTIAL
    if not usb:
        _refuse_enrolled(target)
    with _reserved(target.parent) as file:
        fresh = Path(file.name)
        try:
            raw = _post(url, json.dumps({"token": token}).encode())
            credential = _credential(raw, url)
            if usb:
                target = usb / f"{credential.gateway}.credential"  # an older one of this name holds no longer
            _keep(file, raw, target)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
    return credential, target


def endpoint(hub_url: str) -> str:
    """The hub's enrolment URL. Raises Stop for one that would show the token to everybody on the way."""
    try:
        url = urlsplit(hub_url)
        _ = url.port
    except ValueError as error:
        raise Stop(str(error).lower(), what=hub_url, hint="write https://HUB[:PORT]") from error
    if url.scheme not in ("http", "https") or not url.hostname:
        raise Stop("is no hub's address", what=hub_url, hint="write https://HUB[:PORT]")
    if url.username is not None or url.query or url.fragment:
        raise Stop("has more than an address", what=f"{url.scheme}://{url.hostname}", hint="write https://HUB[:PORT]")
    if url.scheme == "http" and not is_loopback(url.hostname):
        hint = f"write https://{url.netloc}"
        raise Stop("plain http would show the token and the credential to everybody on the way", what=hub_url, hint=hint)
    return f"{url.scheme}://{url.netloc}{url.path.rstrip('/').removesuffix(PATH)}{PATH}"


def _refuse_enrolled(target: Path) -> None:
    if not target.exists() and not target.is_symlink():
        return
    try:
        name = read_credential(target.read_bytes()).gateway
    except (OSError, ValueError):
        raise Stop("there is a file already", what=str(target), hint="move it away, or choose another with --out") from None
    hint = f"to enrol it anew, revoke it at the hub (harmattan-hub gateway revoke {name}) and move this file away"
    raise Stop(f"this gateway is enrolled already, as {name}", what=str(target), hint=hint)


def _reserved(folder: Path) -> IO[bytes]:
    """A private file (0600) in the target's folder: now we know that the credential can be kept."""
    try:
        return tempfile.NamedTemporaryFile(dir=folder, prefix=".credential-", delete=False)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        hint = "make the folder, run this with sudo, or choose another file with --out; the token was not used"
        raise Stop(f"nothing can be written there: {why}", what=str(folder), hint=hint) from error


def _keep(file: IO[bytes], raw: bytes, target: Path) -> None:
    """On disk before it has its name: a power cut leaves the whole file or none."""
    try:
        file.write(raw)
        file.flush()
        owner = target.parent.stat()
        if os.geteuid() == 0 and owner.st_uid:
            with contextlib.suppress(PermissionError):  # FAT knows no owners
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)  # the daemon's user, where the folder is its own
        os.fsync(file.fileno())
        Path(file.name).rename(target)
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        hint = f"the token is used now: mend this, revoke the gateway at the hub and {NEW_TOKEN}"
        raise Retry(f"cannot be written: {why}", what=str(target), hint=hint) from error


def _post(url: str, body: bytes) -> bytes:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", "Accept": "application/json"})  # noqa: S310
    host = urlsplit(url).netloc
    direct = [urllib.request.ProxyHandler({})] if is_loopback(urlsplit(url).hostname or "") else []
    opener = urllib.request.build_opener(_NoRedirect, *direct)
    try:
        with opener.open(request, timeout=TIMEOUT_S) as answer:
            raw: bytes = answer.read(MAX_ANSWER_BYTES + 1)
            return raw
    except urllib.error.HTTPError as error:
        with error:
            raise _refusal(error.code, error.read(MAX_ANSWER_BYTES), host) from None
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(error, host) from error


def _unreachable(error: Exception, host: str) -> Trouble:
    reason = getattr(error, "reason", error)
    if isinstance(reason, ssl.SSLCertVerificationError):
        why = f"its certificate is not trusted: {reason.verify_message}"
        return Stop(why, what=f"hub {host}", hint="check the address and this machine's clock")
    why = "no answer in time" if isinstance(reason, TimeoutError) else (getattr(reason, "strerror", None) or str(reason)).lower()
    return Retry(f"unreachable: {why}", what=f"hub {host}", hint="check the address and the network; the token is still good")


def _refusal(status: int, body: bytes, host: str) -> Trouble:
    """What the hub's problem document says, with the next step for the person who holds the token."""
    if 300 <= status < 400:
        return Stop(f"it sends elsewhere (HTTP {status})", what=f"hub {host}", hint="give the hub's own address, with https://")
    try:
        told = json.loads(body)
        kind, title, detail = (str(told.get(key) or "") for key in ("type", "title", "detail"))
    except (ValueError, AttributeError):
        hint = "is this the hub's address, or is a proxy or captive portal between?"
        return Stop(f"HTTP {status} without a reason", what=f"hub {host}", hint=hint)
    said = ": ".join(" ".join(part.split())[:200] for part in (title, detail) if part) or f"HTTP {status}"
    known = HINTS.get(kind.rsplit("/", 1)[-1])
    if known is None and status >= 500:
        return Retry(said, what=f"hub {host}", hint="try again in a minute; the token is still good")
    return Stop(said, what="token" if known else f"hub {host}", hint=known or "see the hub's log")


def _credential(raw: bytes, url: str) -> Credential:
    try:
        return read_credential(raw)
    except ValueError as error:
        hint = "is this the hub's address, or is a proxy or captive portal between?"
        raise Stop(f"its answer cannot be used: {error}", what=f"hub {urlsplit(url).netloc}", hint=hint) from None
