"""The six x-ratelimit headers: limit, what remains and when it is all there again, of requests and of tokens.

Of a key and its project the one that has less left is told: it is the one that will be met. What neither limits has
no headers, since any number would be made up.
"""

from app.kit.token_bucket import TokenBucket
from app.limits.account import SECOND_NS, Account
from app.limits.refusals import duration

Header = tuple[bytes, bytes]


def rate_headers(key: Account, project: Account, now_ns: int) -> list[Header]:
    """Return the headers of an answer."""
    found: list[Header] = []
    requests, tokens = _tighter(key.requests, project.requests, now_ns), _tighter(key.tokens, project.tokens, now_ns)
    if requests is not None:
        left, reset = _shown(requests, now_ns)
        found += [
            (b"x-ratelimit-limit-requests", b"%d" % requests.capacity),
            (b"x-ratelimit-remaining-requests", left),
            (b"x-ratelimit-reset-requests", reset),
        ]
    if tokens is not None:
        left, reset = _shown(tokens, now_ns)
        found += [
            (b"x-ratelimit-limit-tokens", b"%d" % tokens.capacity),
            (b"x-ratelimit-remaining-tokens", left),
            (b"x-ratelimit-reset-tokens", reset),
        ]
    return found


def _tighter(one: TokenBucket | None, other: TokenBucket | None, now_ns: int) -> TokenBucket | None:
    if one is None or other is None:
        return other if one is None else one
    return one if one.left(now_ns) <= other.left(now_ns) else other


def _shown(bucket: TokenBucket, now_ns: int) -> tuple[bytes, bytes]:
    return b"%d" % max(0, bucket.left(now_ns)), duration(bucket.full_in_ns(now_ns) / SECOND_NS).encode()
