"""The slots of turns that run at once, about as many as the model server takes, and the places of those that wait.

Both are fair between projects: a free slot goes to the waiting project that has the fewest, and a project that fills
the queue keeps nobody else out of it.
"""

import asyncio
from collections import Counter, deque

from app.errors import RateLimited
from app.telemetry import metrics

QUEUE_FULL_RETRY_S = 5


class Slots:
    """A counting semaphore that can also be asked without waiting; within a project first come, first served."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._taken: Counter[str] = Counter()
        self._lines: dict[str, deque[asyncio.Future[None]]] = {}

    def try_take(self, project_id: str) -> bool:
        """Take a slot if one is free and nobody waits for it."""
        if self._free == 0 or self._lines:
            return False
        self._free -= 1
        self._taken[project_id] += 1
        return True

    async def take(self, project_id: str) -> None:
        """Wait for a slot."""
        if self.try_take(project_id):
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(project_id, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # the slot was handed over at the same moment
                self.give(project_id)
            else:
                self._leave_line(project_id, turn)
            raise

    def give(self, project_id: str) -> None:
        """Give a slot back: to who waits longest in the project that has the fewest, else to nobody."""
        self._count_down(project_id)
        while self._lines:
            fewest = min(self._lines, key=self._taken.__getitem__)
            turn = self._lines[fewest][0]
            self._leave_line(fewest, turn)
            if not turn.done():
                self._taken[fewest] += 1
                turn.set_result(None)
                return
        self._free += 1

    def _leave_line(self, project_id: str, turn: "asyncio.Future[None]") -> None:
        """Take one who waits out; a project that goes on waiting goes behind the others."""
        line = self._lines.pop(project_id, deque())
        if turn in line:
            line.remove(turn)
        if line:
            self._lines[project_id] = line

    def _count_down(self, project_id: str) -> None:
        self._taken[project_id] -= 1
        if not self._taken[project_id]:
            del self._taken[project_id]


class Places:
    """How many turns there are, running and waiting: `limit` of them, and of each project its share at least."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._of: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """Tell how many turns there are."""
        return self._of.total()

    def enter(self, project_id: str) -> None:
        """Take a place. Raises RateLimited when there is none left and the project has its share."""
        if self.taken >= self._limit and self._of[project_id] >= self._share(project_id):
            metrics.LIMIT_REFUSALS.labels("queue").inc()
            raise RateLimited(
                "Rate limit reached: too many runs are waiting for the model. Try again in a few seconds.",
                code="rate_limit_exceeded",
                retry_after_s=QUEUE_FULL_RETRY_S,
            )
        self._of[project_id] += 1

    def enter_whatever(self, project_id: str) -> None:
        """Take a place for a turn that cannot be refused."""
        self._of[project_id] += 1

    def leave(self, project_id: str) -> None:
        """Give a place back."""
        self._of[project_id] -= 1
        if not self._of[project_id]:
            del self._of[project_id]

    def _share(self, project_id: str) -> int:
        """Return what each project would have if all that are here had as much, and one that alone has all."""
        projects = len(self._of.keys() | {project_id})
        return self._limit if projects == 1 else max(1, self._limit // projects)
