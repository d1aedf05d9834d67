"""What people send to /auth and /users, field by field: closed objects, capped texts, nothing that a database cannot store."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from hub.auth.accounts import LONGEST as LONGEST_ADDRESS
from hub.auth.accounts import normalised
from hub.auth.tokens import Role
from hub.auth.weakness import LONGEST, SHORTEST


def _storable(text: str) -> str:
    if "\0" in text or not text.isprintable():
        raise ValueError("it has a character that cannot be written, such as NUL or a line's end")
    return text


def _name(text: str) -> str:
    made = _storable(text.strip())
    if not made:
        raise ValueError("it is empty")
    return made


Email = Annotated[str, Field(max_length=LONGEST_ADDRESS), AfterValidator(normalised)]
Name = Annotated[str, Field(max_length=100), AfterValidator(_name)]
Given = Annotated[str, Field(max_length=LONGEST)]
"""A password as somebody types it in: any characters."""
New = Annotated[str, Field(min_length=SHORTEST, max_length=LONGEST)]
Opaque = Annotated[str, Field(min_length=1, max_length=200)]
Code = Annotated[str, Field(max_length=40)]


def _example(**values: Any) -> ConfigDict:
    return ConfigDict(extra="forbid", json_schema_extra={"example": values})


ADA, PHRASE = "ada@example.org", "dust over nine bridges"
TOKEN = "q0J1yq0lqYh7m9w3xkP5b2T8c4V6n1Z0aSdFgHjKlQw"  # noqa: S105  # an example


class Register(BaseModel):
    model_config = _example(email=ADA, password=PHRASE, name="Ada")

    email: Email
    password: New
    name: Name


class Login(BaseModel):
    """`code`: of the authenticator app, or a recovery code. `cookie`: the refresh token goes into a cookie, for a browser."""

    model_config = _example(email=ADA, password=PHRASE)

    email: Email
    password: Given
    code: Code | None = None
    cookie: bool = False


class Refresh(BaseModel):
    """Empty where the cookie has it."""

    model_config = _example(refresh_token=TOKEN)

    refresh_token: Opaque | None = None


class Me(BaseModel):
    model_config = _example(name="Ada B.")

    name: Name


class Change(BaseModel):
    model_config = _example(current=PHRASE, new="nine bridges over dust")

    current: Given
    new: New


class Forgot(BaseModel):
    model_config = _example(email=ADA)

    email: Email


class Reset(BaseModel):
    model_config = _example(token=TOKEN, new="nine bridges over dust")

    token: Opaque
    new: New


class Verify(BaseModel):
    model_config = _example(token=TOKEN)

    token: Opaque


class Setup(BaseModel):
    model_config = _example(token=TOKEN, email=ADA, password=PHRASE, name="Ada")

    token: Opaque
    email: Email
    password: New
    name: Name


class NewUser(BaseModel):
    model_config = _example(email="ben@example.org", name="Ben", role="authenticated")

    email: Email
    name: Name
    role: Role = Role.AUTHENTICATED


class UserChange(BaseModel):
    model_config = _example(role="admin")

    name: Name | None = None
    role: Role | None = None
    disabled: bool | None = None
