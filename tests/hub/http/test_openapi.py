"""The API's document refuses to be made where it would say something wrong."""

import pytest
from fastapi import APIRouter, Depends, FastAPI
from msgspec import Struct, defstruct

from hub.answers import described
from hub.auth.guard import Allow, Guarded, Policy
from hub.http.openapi import document


class Row(Struct):
    value: float


def of(tag: str, *answers: type[Struct]) -> FastAPI:
    """An application with a route for each kind of answer."""
    router = APIRouter(route_class=Guarded, dependencies=[Depends(Allow(Policy.PUBLIC))])
    for number, answer in enumerate(answers):
        router.add_api_route(f"/rows-{number}", lambda: None, tags=[tag], responses=described(answer))
    app = FastAPI()
    app.include_router(router)
    return app


def test_two_kinds_of_answer_may_not_have_one_name() -> None:
    assert "Row" in document(of("readings", Row, Row))["components"]["schemas"]
    with pytest.raises(RuntimeError, match="two schemas of the API are named Row; rename one of their classes"):
        document(of("readings", Row, defstruct("Row", [("other", str)])))


def test_a_tag_without_words_is_named() -> None:
    with pytest.raises(RuntimeError, match="no words in TAGS about rows"):
        document(of("rows", Row))
