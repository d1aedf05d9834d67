"""How a password is typed: masked, by hand, by paste or by a password manager."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser


def test_a_password_is_masked_may_be_pasted_and_is_offered_to_a_manager(seat: Page, desk: Any) -> None:
    seat.goto(f"{desk.url}/signin")
    field = seat.get_by_label("Password", exact=True)
    expect(field).to_have_attribute("type", "password")
    expect(field).to_have_attribute("autocomplete", "current-password")
    for kind in ("paste", "copy", "drop"):
        taken = field.evaluate(f"field => field.dispatchEvent(new Event('{kind}', {{bubbles: true, cancelable: true}}))")
        assert taken, f"the page cancels {kind}"
