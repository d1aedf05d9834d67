"""A wall clock that is wrong for one process: a folder in, an environment out. Its boot and monotonic clocks stay true.

libfaketime (Debian's faketime) answers the process's questions for the time; its file may be rewritten meanwhile: a clock step.
"""

from collections.abc import Mapping
from pathlib import Path

from tests.servers import absent


class FalseClock:
    """`environment` for the process; `set("@1970-01-01 00:05:00")` starts its clock there, `set("+3600")` is an hour ahead."""

    def __init__(self, folder: Path) -> None:
        libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
        library = libraries[0] if libraries else absent("libfaketime")
        self._file = folder / "clock"
        self.environment: Mapping[str, str] = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, when: str) -> None:
        self._file.write_text(when + "\n")
