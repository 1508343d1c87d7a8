"""The limits of keys that have none of their own, as the operator set them."""

from app.keys.limits import Limits
from app.settings import Settings


def default_limits(settings: Settings) -> Limits:
    """Return the limits that RATE_LIMIT_… say."""
    return Limits(
        requests_per_minute=settings.rate_limit_requests_per_min,
        tokens_per_minute=settings.rate_limit_tokens_per_min,
        concurrent_runs=settings.rate_limit_concurrent_runs,
        concurrent_streams=settings.rate_limit_concurrent_streams,
        tokens_per_day=settings.rate_limit_tokens_per_day,
        tokens_per_month=settings.rate_limit_tokens_per_month,
    )
