"""One target of tests/proofs/fuzz.py under atheris: its name, seconds and a folder for what was tried in; statistics out."""

import sys
from pathlib import Path

import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]  # installed by scripts/prove fuzz only

with atheris.instrument_imports(include=["adapters"]):
    from tests.proofs.fuzz import TARGETS, seeds


def main(name: str, seconds: str, folder: Path) -> None:
    for number, seed in enumerate(seeds(name)):
        (folder / f"seed-{number}").write_bytes(seed)
    options = [f"-max_total_time={seconds}", "-timeout=5", "-rss_limit_mb=512", "-max_len=4096", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={folder}/", str(folder)], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
