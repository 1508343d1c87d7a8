"""Who asks: what rooms are told of the request they serve."""

from msgspec import Struct


class Caller(Struct, frozen=True, kw_only=True):
    """The project that a request acts in, and by which key, from where and under which id it does so.

    `models` are the only ones that the key may use, None when it may use all.
    """

    project_id: str
    key_id: str
    request_id: str
    address: str | None
    models: frozenset[str] | None = None
