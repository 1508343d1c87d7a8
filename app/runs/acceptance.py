"""How a run is accepted, whatever surface asked for it: a place, its part of the limits, one transaction, a task."""

import asyncio
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from app.db.database import Database, WriteTx
from app.engine.bus import Topic
from app.engine.context import Told
from app.engine.events import TurnQueued, TurnStarted
from app.engine.executor import Executor, Place
from app.engine.turn import Stamped, TurnSpec
from app.kit.caller import Caller
from app.limits.allowance import Allowance
from app.limits.limiter import Reservation
from app.runs.rows import spec_of

USUAL_ANSWER_TOKENS = 256
"""What an answer is taken to use of the limits as long as nobody knows better."""

Accept = Callable[[WriteTx, bool], tuple[Any, list[Stamped]]]
"""Writes a run and returns its row and its events so far; told whether it starts at once."""


class Accepted(Struct, frozen=True):
    """A run that goes on: its row, its events so far, and where the others are told."""

    row: Any
    past: list[Stamped]
    topic: Topic


class Acceptance:
    """Commits runs and hands them to the executor."""

    def __init__(self, database: Database, executor: Executor) -> None:
        self._database = database
        self._executor = executor

    async def commit(
        self,
        caller: Caller,
        allowance: Allowance,
        estimate: int,
        accept: Accept,
        said: Sequence[Told] | None = None,
    ) -> Accepted:
        """Commit a run that may use `estimate` tokens, then submit it. Raises RateLimited, and what `accept` raises.

        `said` is all that its thread holds, where that is known: it is not read back. Shielded: a caller that goes
        away leaves no run that nobody carries out.
        """
        return await asyncio.shield(self._commit(caller, allowance, estimate, accept, said))

    async def _commit(
        self, caller: Caller, allowance: Allowance, estimate: int, accept: Accept, said: Sequence[Told] | None
    ) -> Accepted:
        with self._reserved(caller, allowance, estimate) as (place, reservation):
            row, past = await self._database.write(lambda tx: accept(tx, place.starts))
        spec = spec_of(row) if said is None else replace(spec_of(row), said=said, until=0)
        return Accepted(row, past, place.submit(spec, past, reservation))

    def begin(self, caller: Caller, allowance: Allowance, estimate: int, spec: TurnSpec, at: int) -> Topic:
        """Submit a turn of which nothing is written. Raises RateLimited."""
        with self._reserved(caller, allowance, estimate) as (place, reservation):
            return place.submit(spec, first_events(at, starts=place.starts), reservation)

    @contextmanager
    def _reserved(
        self, caller: Caller, allowance: Allowance, estimate: int
    ) -> Generator[tuple[Place, Reservation], None, None]:
        """Hold a place and a part of the limits for a block; both are given back when it fails."""
        with ExitStack() as until_accepted:
            place = self._executor.reserve(caller.project_id)
            until_accepted.callback(place.release)
            reservation = allowance.admit_run(estimate)
            until_accepted.callback(reservation.release)
            yield place, reservation
            until_accepted.pop_all()


def first_events(at: int, *, starts: bool) -> list[Stamped]:
    """Return what a turn begins with; `starts`: it has a slot already."""
    queued = Stamped(1, TurnQueued(at=at))
    return [queued, Stamped(2, TurnStarted(at=at))] if starts else [queued]
