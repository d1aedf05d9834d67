"""docs/profiles.md against the code: every key is described, and its example is a good profile."""

import re
from pathlib import Path

import msgspec
import pytest

from adapters.profile import Check, Doubt, Field, FrameWire, JsonWire, Link, Profile, RegisterWire, State, parse


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "docs" / "profiles.md").read_text()


@pytest.mark.parametrize("shape", [Profile, Link, Check, FrameWire, RegisterWire, JsonWire, Field, State, Doubt])
def test_every_key_is_described(shape: type[msgspec.Struct], page: str) -> None:
    keys = [field.encode_name for field in msgspec.structs.fields(shape) if not field.encode_name.startswith("-")]
    assert [key for key in keys if f"`{key}`" not in page] == []


def test_the_example_is_a_good_profile(page: str) -> None:
    example = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert example is not None
    assert parse(example[1].encode(), Path("plantower/pms5003.yaml")).numbers == ("pm2_5", "n_gt_0_3um")
