"""What a key or a project lacks for a request, and the 429 that says so in OpenAI's words."""

import math
from typing import Literal, NamedTuple

from app.errors import InsufficientQuota, RateLimited

Whose = Literal["key", "project"]

BUSY_WAIT_S = 5.0
"""When to ask again for a place that becomes free when somebody else's work ends: nobody knows when."""


class Lack(NamedTuple):
    """A bound that leaves no room. `wait_s` is when there is room again, infinite for never."""

    bound: str
    limit: int
    used: int
    asked: int
    wait_s: float
    renewed_at: str | None = None
    """When the day or the month of a quota is over."""


def refusal(lack: Lack, whose: Whose) -> RateLimited:
    """Return the error for a lack."""
    figures = f"Limit {lack.limit}, Used {lack.used}, Requested {lack.asked}"
    if lack.renewed_at is not None:
        text = (
            f"You exceeded your current quota for this {whose} on {lack.bound}: {figures}. "
            f"It is renewed at {lack.renewed_at}."
        )
        return InsufficientQuota(text, code="insufficient_quota", retry_after_s=lack.wait_s)
    if math.isinf(lack.wait_s):
        text = (
            f"Request too large for this {whose} on {lack.bound}: Limit {lack.limit}, Requested {lack.asked}. "
            "The input or output tokens must be reduced in order to run successfully."
        )
    else:
        text = (
            f"Rate limit reached for this {whose} on {lack.bound}: {figures}. "
            f"Please try again in {duration(lack.wait_s)}."
        )
    return RateLimited(text, code="rate_limit_exceeded", retry_after_s=lack.wait_s)


def duration(seconds: float) -> str:
    """Return a time as OpenAI writes it, rounded up: `12ms`, `1.5s`, `6m0s`, `2h0m1s`."""
    ms = math.ceil(seconds * 1000)
    if ms < 1000:
        return f"{ms}ms"
    if ms < 60_000:
        return f"{ms / 1000:g}s"
    minutes, s = divmod(-(-ms // 1000), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{s}s" if hours else f"{minutes}m{s}s"
