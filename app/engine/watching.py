"""What is counted, timed and logged of a turn: each change of its state, and each piece that its readers are told."""

import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, NamedTuple, get_args

from app.engine.events import (
    CallsFinished,
    Deltas,
    OutputsRequired,
    TurnCancelled,
    TurnCompleted,
    TurnEnded,
    TurnEvent,
    TurnExpired,
    TurnFailed,
    TurnIncomplete,
    TurnRequeued,
    TurnStarted,
)
from app.engine.turn import Stamped, Turn, TurnSpec
from app.telemetry import genai, logs, metrics, tracing

log = logging.getLogger("app.turns")

OUTCOMES: dict[type[TurnEvent], str] = {
    TurnCompleted: "completed",
    TurnIncomplete: "incomplete",
    TurnFailed: "failed",
    TurnExpired: "expired",
    TurnCancelled: "cancelled",
}


_PIECES = frozenset(get_args(Deltas))  # a look-up costs a third of what isinstance of a union does


class Watch:
    """Sees the events of one turn as they happen. Knows nothing of their texts."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._surface = turn.spec.surface
        self._began = self._queued = time.perf_counter()
        self._counted = turn.usage
        self._pieces = metrics.Pieces(self._surface)
        if turn.status == "in_progress":
            metrics.QUEUE_SECONDS.observe(0)
        self._say()

    def saw(self, told: Sequence[Stamped]) -> None:
        """Take in what happened together, now that it is told."""
        last = told[-1].event
        if type(last) in _PIECES:
            self._pieces.told()
            return
        for stamped in told:
            self._count(stamped.event)
        if isinstance(last, TurnStarted | TurnRequeued | OutputsRequired | TurnEnded):
            self._say()
        if self._turn.rests:
            self._rests()

    def _count(self, event: TurnEvent) -> None:
        match event:
            case TurnStarted():
                metrics.QUEUE_SECONDS.observe(time.perf_counter() - self._queued)
            case TurnRequeued():
                self._queued = time.perf_counter()
            case OutputsRequired() | CallsFinished():
                metrics.TOOL_ROUNDS.labels(self._surface).inc()
            case TurnCompleted() | TurnIncomplete() | TurnFailed() | TurnExpired() | TurnCancelled():
                metrics.TURNS.labels(self._surface, OUTCOMES[type(event)]).inc()
            case _:
                pass

    def _rests(self) -> None:
        metrics.TURN_SECONDS.labels(self._surface).observe(time.perf_counter() - self._began)
        used, before = self._turn.usage, self._counted
        self._counted = used
        prompt = max(0, used.prompt_tokens - before.prompt_tokens)
        completion = max(0, used.completion_tokens - before.completion_tokens)
        model = metrics.MODELS.label(self._turn.spec.model)
        metrics.count_tokens(model, self._turn.spec.project_id, prompt, completion)
        tracing.note(genai.used(model, prompt, completion))

    def _say(self) -> None:
        log.log(
            _level(self._turn.status),
            "turn",
            extra={"status": self._turn.status, "surface": self._surface, "duration_ms": self._elapsed_ms()},
        )

    def _elapsed_ms(self) -> int:
        return round((time.perf_counter() - self._began) * 1000)


def ended_at_rest(spec: TurnSpec, ended: type[TurnEnded]) -> None:
    """Count and log the end of a turn that no task carried out: it waited for its client."""
    outcome = OUTCOMES[ended]
    metrics.TURNS.labels(spec.surface, outcome).inc()
    ids = {"run_id": spec.run_id, "project_id": spec.project_id}
    log.log(_level(outcome), "turn", extra={"status": outcome, "surface": spec.surface, **ids})


def _level(status: str | None) -> int:
    return logging.WARNING if status in ("failed", "expired") else logging.INFO


class Trail(NamedTuple):
    """What began a turn: the request's ids for log lines, and its place in a trace."""

    ids: Mapping[str, str]
    place: Any


def trail() -> Trail:
    """Return what begins a turn here."""
    return Trail(logs.about(), tracing.here())


async def followed(begun: Trail, spec: TurnSpec, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Carry out a turn in a task of its own, in the trace and under the ids of what began it."""
    logs.now_about(**{**begun.ids, "run_id": spec.run_id, "project_id": spec.project_id})
    attributes = genai.turn(spec.run_id, spec.project_id, spec.surface)
    with tracing.span("turn", parent=begun.place, attributes=attributes):
        await work()
