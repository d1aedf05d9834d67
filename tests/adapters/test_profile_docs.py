"""docs/profiles.md against the code: every key is described, its tables are the code's, and its example is a good profile."""

import re
from pathlib import Path

import msgspec
import pytest

from adapters.profile import parse
from adapters.reference import PLACES, page


@pytest.fixture(scope="module")
def text(root: Path) -> str:
    return (root / "docs" / "profiles.md").read_text()


@pytest.mark.parametrize("shape", [shape for _, shape in PLACES])
def test_every_key_is_described(shape: type[msgspec.Struct], text: str) -> None:
    prose = text.partition("## Every key")[0]
    keys = [field.encode_name for field in msgspec.structs.fields(shape) if not field.encode_name.startswith("-")]
    assert [key for key in keys if f"`{key}`" not in prose and f"`{key}:" not in prose] == []


def test_the_tables_are_those_that_the_code_gives(text: str) -> None:
    assert page(text) == text, "run: python -m adapters.reference docs/profiles.md"


def test_the_example_is_a_good_profile(text: str) -> None:
    example = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert example is not None
    assert parse(example[1].encode(), Path("plantower/pms5003.yaml")).numbers == ("pm2_5", "n_gt_0_3um")
