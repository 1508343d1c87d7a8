"""What one key, or one project, holds at this moment of its limits, and what it lacks for more."""

import math
from collections import OrderedDict
from collections.abc import Iterator

from app.keys.limits import Limits
from app.kit.token_bucket import MINUTE_NS, TokenBucket
from app.limits.calendar import DAY_S, moment, next_month
from app.limits.ledger import Spent
from app.limits.refusals import BUSY_WAIT_S, Lack

IDLE_NS = 2 * MINUTE_NS
SECOND_NS = 10**9


class Account:
    """The state of a holder's limits. `reserved` tokens are those of what has begun and not ended."""

    __slots__ = ("limits", "requests", "reserved", "runs", "seen_ns", "streams", "tokens")

    def __init__(self, limits: Limits, now_ns: int) -> None:
        self.limits = limits
        self.requests = _bucket(None, limits.requests_per_minute, now_ns)
        self.tokens = _bucket(None, limits.tokens_per_minute, now_ns)
        self.runs = self.streams = self.reserved = 0
        self.seen_ns = now_ns

    def change(self, limits: Limits, now_ns: int) -> None:
        """Hold to other limits from now on. What was used stays used."""
        self.limits = limits
        self.requests = _bucket(self.requests, limits.requests_per_minute, now_ns)
        self.tokens = _bucket(self.tokens, limits.tokens_per_minute, now_ns)

    def lacks_request(self, now_ns: int) -> Lack | None:
        """Return why no request may be made now."""
        return _lacks(self.requests, "requests per min (RPM)", 1, now_ns)

    def lacks_stream(self) -> Lack | None:
        """Return why no stream may begin now."""
        return _lacks_place("concurrent streams", self.limits.concurrent_streams, self.streams)

    def lacks_run(self, tokens: int, spent: Spent, now_ns: int, now_s: int) -> Iterator[Lack | None]:
        """Yield why no run of so many tokens may begin now; None for every bound that has room."""
        yield _lacks_place("concurrent runs", self.limits.concurrent_runs, self.runs)
        yield _lacks(self.tokens, "tokens per min (TPM)", tokens, now_ns)
        day = now_s // DAY_S
        per_day, per_month = self.limits.tokens_per_day, self.limits.tokens_per_month
        if per_day is not None:
            yield _lacks_quota("tokens per day (TPD)", per_day, spent.day + self.reserved, tokens, now_s, day + 1)
        if per_month is not None:
            used, end = spent.month + self.reserved, next_month(day)
            yield _lacks_quota("tokens per month", per_month, used, tokens, now_s, end)

    def take_tokens(self, tokens: int, now_ns: int) -> None:
        """Take tokens of this minute's; a negative number gives back."""
        if self.tokens is not None:
            self.tokens.take(tokens, now_ns)

    def is_forgettable(self, now_ns: int) -> bool:
        """Tell whether a new account would be just like this one."""
        if self.runs or self.streams or self.reserved:
            return False
        return not any(bucket and bucket.full_in_ns(now_ns) for bucket in (self.requests, self.tokens))

    def remaining(self, spent: Spent, now_ns: int) -> Limits:
        """Return what is left under each bound."""

        def left(limit: int | None, used: int) -> int | None:
            return None if limit is None else max(0, limit - used)

        def there(bucket: TokenBucket | None) -> int | None:
            return None if bucket is None else max(0, bucket.left(now_ns))

        return Limits(
            requests_per_minute=there(self.requests),
            tokens_per_minute=there(self.tokens),
            concurrent_runs=left(self.limits.concurrent_runs, self.runs),
            concurrent_streams=left(self.limits.concurrent_streams, self.streams),
            tokens_per_day=left(self.limits.tokens_per_day, spent.day + self.reserved),
            tokens_per_month=left(self.limits.tokens_per_month, spent.month + self.reserved),
        )


class Accounts:
    """The accounts of all keys, or of all projects, those used last at the end. Idle ones are dropped."""

    def __init__(self) -> None:
        self._accounts: OrderedDict[str, Account] = OrderedDict()

    def __len__(self) -> int:
        return len(self._accounts)

    def of(self, holder: str, limits: Limits, now_ns: int) -> Account:
        """Return a holder's account, under these limits."""
        account = self._accounts.get(holder)
        if account is None:
            account = self._accounts[holder] = Account(limits, now_ns)
        else:
            self._accounts.move_to_end(holder)
            if account.limits is not limits and account.limits != limits:
                account.change(limits, now_ns)
        account.seen_ns = now_ns
        self._drop_idle(now_ns)
        return account

    def known(self, holder: str, now_ns: int) -> Account:
        """Return a holder's account under the limits that it had last."""
        account = self._accounts.get(holder)
        return self.of(holder, account.limits if account else Limits(), now_ns)

    def _drop_idle(self, now_ns: int) -> None:
        """Look at the two that were not used for longest: more leave than can come."""
        for _ in range(2):
            holder = next(iter(self._accounts))
            account = self._accounts[holder]
            if account.seen_ns > now_ns - IDLE_NS:
                return
            if account.is_forgettable(now_ns):
                del self._accounts[holder]
            else:
                self._accounts.move_to_end(holder)
                account.seen_ns = now_ns


def _bucket(old: TokenBucket | None, capacity: int | None, now_ns: int) -> TokenBucket | None:
    if capacity is None:
        return None
    return TokenBucket(capacity, now_ns) if old is None else old.resized(capacity, now_ns)


def _lacks(bucket: TokenBucket | None, bound: str, asked: int, now_ns: int) -> Lack | None:
    if bucket is None:
        return None
    wait_ns = bucket.wait_ns(asked, now_ns)
    if wait_ns == 0:
        return None
    wait_s = math.inf if wait_ns is None else wait_ns / SECOND_NS
    return Lack(bound, bucket.capacity, bucket.capacity - bucket.left(now_ns), asked, wait_s)


def _lacks_place(bound: str, limit: int | None, used: int) -> Lack | None:
    if limit is None or used < limit:
        return None
    return Lack(bound, limit, used, 1, BUSY_WAIT_S)


def _lacks_quota(bound: str, limit: int, used: int, asked: int, now_s: int, end: int) -> Lack | None:
    """Return what is lacking of a quota until the day `end` begins."""
    if used + asked <= limit:
        return None
    return Lack(bound, limit, used, asked, end * DAY_S - now_s, moment(end))
