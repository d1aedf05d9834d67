"""A secret that a file keeps: made once, by whoever comes first, readable by its owner only."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from readings.errors import Stop


def kept(path: Path, make: Callable[[], bytes]) -> bytes:
    """The file's bytes; made and written (0600) when there is none. Two processes at once agree on one. Raises Stop."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise Stop(str(error.strerror), what=str(path), hint="it must be readable by the account that runs the hub") from error
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(make())
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        return path.read_bytes()
    except OSError as error:
        raise Stop(
            str(error.strerror), what=str(path), hint="DATA_DIR must be writable by the account that runs the hub"
        ) from error


def hub_secret(data_dir: Path) -> bytes:
    """32 random bytes from which each gateway's key is derived. Belongs into every backup."""
    return kept(data_dir / "keys" / "hub-secret", lambda: secrets.token_bytes(32))
