"""What a key or a project may use at most."""

from typing import Annotated

from msgspec import Meta, json

from app.kit.wire import Body

Limit = Annotated[int, Meta(ge=1, le=10**12)]


class Limits(Body, kw_only=True, frozen=True):
    """Upper bounds. Null is no bound."""

    requests_per_minute: Limit | None = None
    tokens_per_minute: Limit | None = None
    concurrent_runs: Limit | None = None
    concurrent_streams: Limit | None = None
    tokens_per_day: Limit | None = None
    tokens_per_month: Limit | None = None


UNLIMITED = Limits()

decode_limits = json.Decoder(Limits).decode
