"""Models on the wire."""

from typing import Literal

from app.kit.wire import Answer


class Model(Answer, kw_only=True, frozen=True):
    """A model that can be asked for, under its own name or an alias."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str


class Models(Answer, kw_only=True, frozen=True):
    """Every model; the list is not paged."""

    object: Literal["list"] = "list"
    data: list[Model]
