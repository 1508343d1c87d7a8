"""The one place where limits are held: what a request or a run asks for is granted by its key and its project, or
by neither.

Every method is one step of the event loop: it checks everything, then takes everything. No caller can come between.
"""

from collections.abc import Iterable

from app.keys.grant import Grant
from app.keys.limits import UNLIMITED, Limits
from app.kit.clock import Clock
from app.limits.account import SECOND_NS, Account, Accounts
from app.limits.headers import Header, rate_headers
from app.limits.ledger import Ledger
from app.limits.refusals import Lack, Whose, refusal
from app.telemetry import metrics

Parties = tuple[Account, Account]
"""The accounts of a key and of its project."""

WHOSE: tuple[Whose, Whose] = ("key", "project")


class Reservation:
    """A run's tokens and place, from its acceptance to its end. Settle it or release it; the first call counts."""

    __slots__ = ("_estimate", "_limiter", "_parties", "key_id", "open", "project_id")

    def __init__(self, limiter: "Limiter", key_id: str, project_id: str, parties: Parties, estimate: int) -> None:
        self._limiter = limiter
        self._parties = parties
        self._estimate = estimate
        self.key_id = key_id
        self.project_id = project_id
        self.open = True

    def settle(self, prompt_tokens: int, completion_tokens: int, *, runs: int = 1) -> None:
        """End with what was used: what was reserved beyond it is given back, what is lacking is taken.

        `runs` is 0 when the run goes on under another reservation.
        """
        if self.open:
            self._close(prompt_tokens + completion_tokens)
            ledger = self._limiter.ledger
            ledger.add_tokens(self.key_id, self.project_id, prompt_tokens, completion_tokens).runs += runs

    def release(self) -> None:
        """End without a trace: what was reserved for did not begin."""
        if self.open:
            self._close(0)

    def _close(self, used: int) -> None:
        self.open = False
        now_ns = self._limiter.now_ns()
        for account in self._parties:
            account.runs -= 1
            account.reserved -= self._estimate
            account.take_tokens(used - self._estimate, now_ns)


class StreamPlace:
    """A place among a key's and a project's streams."""

    __slots__ = ("_held", "_parties")

    def __init__(self, parties: Parties) -> None:
        self._parties = parties
        self._held = True

    def release(self) -> None:
        """Give the place back; only the first call counts."""
        if self._held:
            self._held = False
            for account in self._parties:
                account.streams -= 1


class Limiter:
    """Holds every key and every project to its limits. A key without limits of its own has `defaults`."""

    def __init__(self, clock: Clock, ledger: Ledger, defaults: Limits = UNLIMITED) -> None:
        self._clock = clock
        self._defaults = defaults
        self._keys = Accounts()
        self._projects = Accounts()
        self.ledger = ledger

    def now_ns(self) -> int:
        """Return the time by which buckets refill, in nanoseconds."""
        return int(self._clock.monotonic() * SECOND_NS)

    def limits_of(self, grant: Grant) -> Limits:
        """Return the limits of a key: its own, or the defaults."""
        own = grant.limits
        return self._defaults if own is UNLIMITED or own == UNLIMITED else own

    def counts_tokens(self, grant: Grant) -> bool:
        """Tell whether a key or its project has a limit of tokens."""
        return any(
            limit is not None
            for limits in (self.limits_of(grant), grant.project_limits)
            for limit in (limits.tokens_per_minute, limits.tokens_per_day, limits.tokens_per_month)
        )

    def admit_request(self, grant: Grant) -> None:
        """Take a request. Raises RateLimited."""
        now_ns = self.now_ns()
        key, project = parties = self._parties(grant, now_ns)
        if key.requests is not None or project.requests is not None:
            self._demand(grant, [account.lacks_request(now_ns) for account in parties])
            for account in parties:
                if account.requests is not None:
                    account.requests.take(1, now_ns)
        self.ledger.counts(grant.key_id, grant.project_id).requests += 1

    def admit_stream(self, grant: Grant) -> StreamPlace:
        """Take a place for a stream. Raises RateLimited."""
        parties = self._parties(grant, self.now_ns())
        self._demand(grant, [account.lacks_stream() for account in parties])
        for account in parties:
            account.streams += 1
        return StreamPlace(parties)

    def admit_run(self, grant: Grant, estimate: int) -> Reservation:
        """Reserve a place and tokens for a run that may use `estimate`, prompt and answer. Raises RateLimited."""
        now_ns, now_s = self.now_ns(), self._clock.now()
        parties = self._parties(grant, now_ns)
        spent = self.ledger.spent_by_key(grant.key_id), self.ledger.spent_by_project(grant.project_id)
        lacks = [
            _longest(account.lacks_run(estimate, used, now_ns, now_s))
            for account, used in zip(parties, spent, strict=True)
        ]
        self._demand(grant, lacks)
        return self._reserved(grant.key_id, grant.project_id, parties, estimate, now_ns)

    def resume_run(self, key_id: str, project_id: str) -> Reservation:
        """Count a run that a stopped process left behind: it was admitted once, so nothing is asked."""
        now_ns = self.now_ns()
        parties = self._keys.known(key_id, now_ns), self._projects.known(project_id, now_ns)
        return self._reserved(key_id, project_id, parties, 0, now_ns)

    def headers(self, grant: Grant) -> list[Header]:
        """Return the x-ratelimit headers of an answer to this key; none for what has no limit."""
        now_ns = self.now_ns()
        key, project = self._parties(grant, now_ns)
        return rate_headers(key, project, now_ns)

    def remaining(self, grant: Grant) -> tuple[Limits, Limits]:
        """Return what is left to the key and to its project, null where there is no bound."""
        now_ns = self.now_ns()
        key, project = self._parties(grant, now_ns)
        ledger = self.ledger
        return (
            key.remaining(ledger.spent_by_key(grant.key_id), now_ns),
            project.remaining(ledger.spent_by_project(grant.project_id), now_ns),
        )

    @property
    def accounts(self) -> int:
        """Return how many keys and projects are kept in memory."""
        return len(self._keys) + len(self._projects)

    def _parties(self, grant: Grant, now_ns: int) -> Parties:
        return (
            self._keys.of(grant.key_id, self.limits_of(grant), now_ns),
            self._projects.of(grant.project_id, grant.project_limits, now_ns),
        )

    def _reserved(self, key_id: str, project_id: str, parties: Parties, estimate: int, now_ns: int) -> Reservation:
        for account in parties:
            account.runs += 1
            account.reserved += estimate
            account.take_tokens(estimate, now_ns)
        return Reservation(self, key_id, project_id, parties, estimate)

    def _demand(self, grant: Grant, lacks: Iterable[Lack | None]) -> None:
        """Raise RateLimited for what is longest in coming, if the key or the project lacks anything."""
        found = [(lack.wait_s, whose, lack) for lack, whose in zip(lacks, WHOSE, strict=True) if lack is not None]
        if found:
            _, whose, lack = max(found, key=lambda one: one[0])
            self.ledger.counts(grant.key_id, grant.project_id).refused += 1
            metrics.LIMIT_REFUSALS.labels(lack.bound).inc()
            raise refusal(lack, whose)


def _longest(lacks: Iterable[Lack | None]) -> Lack | None:
    return max((lack for lack in lacks if lack is not None), key=lambda lack: lack.wait_s, default=None)
