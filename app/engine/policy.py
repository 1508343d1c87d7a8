"""What the executor decides, as pure functions: when to ask again, what to ask, how a turn ends early."""

from msgspec.structs import replace

from app.engine.events import (
    IncompleteReason,
    MessageCut,
    MessageStopped,
    ReasoningFinished,
    TokenUsage,
    ToolCallsStopped,
    TurnCancelled,
    TurnCancelling,
    TurnEvent,
    TurnExpired,
    TurnFailed,
    TurnStarted,
)
from app.engine.prompt import Room
from app.engine.turn import Turn, TurnSpec
from app.inference.failures import ModelBroke, ModelBusy, ModelFailure, ModelUnreachable
from app.inference.tokens import CHARACTERS_PER_TOKEN

RETRY_FIRST_S = 0.25
RETRY_MOST_S = 4.0
BUSY_ATTEMPTS = 4
BROKE_ATTEMPTS = 4  # within them a dying vLLM, which answers 500 for a second, has closed its port

POLL_AFTER_MS = 500
POLL_AFTER_MOST_MS = 5_000

EarlyEnd = TurnFailed | TurnExpired | TurnCancelled


def pause_before_retry(failure: ModelFailure, attempt: int) -> float | None:
    """Return how long to wait before the model is asked again, None when it is not. Nothing was said yet.

    A server that cannot be reached is waited for until the turn expires; one that is full or broke gets a few tries.
    """
    pause_s: float = min(RETRY_FIRST_S * 2 ** min(attempt - 1, 8), RETRY_MOST_S)
    match failure:
        case ModelUnreachable():
            return pause_s
        case ModelBusy():
            return pause_s if attempt < BUSY_ATTEMPTS else None
        case ModelBroke():
            return pause_s if attempt < BROKE_ATTEMPTS else None
        case _:
            return None


def poll_after_ms(turns: int, slots: int) -> int:
    """Return how long a poller does well to wait: longer, the more turns wait for each slot."""
    return min(POLL_AFTER_MS * max(1, -(-turns // slots)), POLL_AFTER_MOST_MS)


def used_since(turn: Turn, before: TokenUsage) -> TokenUsage:
    """Return what a turn has used since it had used `before`.

    A model call that was cut short told no usage: what it was shown and what it said count by a rough estimate, or a
    client could have answers for nothing by leaving before their end.
    """
    used = TokenUsage(
        turn.usage.prompt_tokens - before.prompt_tokens, turn.usage.completion_tokens - before.completion_tokens
    )
    if turn.cut_short or (turn.produced and not turn.rests):  # the second: the run was lost while the model spoke
        shown = sum(len(str(message["content"])) for message in turn.asked)
        said = (
            sum(map(len, turn.text)) + sum(map(len, turn.reasoning)) + sum(len(call.arguments) for call in turn.calls)
        )
        used += TokenUsage(shown // CHARACTERS_PER_TOKEN, -(-said // CHARACTERS_PER_TOKEN))
    return used


def closing(turn: Turn, reason: MessageCut, end: EarlyEnd) -> tuple[TurnEvent, ...]:
    """Return the events that end a turn early, wherever it stands."""
    events: list[TurnEvent] = []
    if isinstance(end, TurnFailed) and turn.status == "queued":
        events.append(TurnStarted(at=end.at))
    if isinstance(end, TurnCancelled) and turn.status != "cancelling":
        events.append(TurnCancelling(at=end.at))
    error = end.error if isinstance(end, TurnFailed) else None
    if turn.reasons:
        events.append(ReasoningFinished(at=end.at))
    if turn.message_open:
        events.append(MessageStopped(at=end.at, reason=reason, error=error))
    if turn.tools_open:
        events.append(ToolCallsStopped(at=end.at, reason=reason, error=error))
    return (*events, end)


def spent_budget(turn: Turn) -> IncompleteReason | None:
    """Return which of the turn's token budgets its earlier model calls have used up."""
    if _left(turn.spec.max_completion_tokens, turn.usage.completion_tokens) == 0:
        return "max_completion_tokens"
    if _left(turn.spec.max_prompt_tokens, turn.usage.prompt_tokens) == 0:
        return "max_prompt_tokens"
    return None


def room_for(turn: Turn, window: int | None) -> Room:
    """Return how much room the next prompt has."""
    return Room(
        window=window,
        answer=_left(turn.spec.max_completion_tokens, turn.usage.completion_tokens),
        budget=_left(turn.spec.max_prompt_tokens, turn.usage.prompt_tokens),
    )


def _left(budget: int | None, used: int) -> int | None:
    return None if budget is None else max(0, budget - used)


def what_to_ask(turn: Turn, window: int | None, prompt_tokens: int | None = None) -> TurnSpec:
    """Return what this model call is asked: what is left of the budget, and no tool forced a second time.

    A budget that the window undercuts anyway is dropped: vLLM refuses one that is larger than its context.
    """
    spec = turn.spec
    left = _left(spec.max_completion_tokens, turn.usage.completion_tokens)
    if left is not None and window is not None and left > window - (prompt_tokens or 0):
        left = None
    choice = "auto" if turn.rounds and spec.tool_choice != "none" else spec.tool_choice
    return replace(spec, max_completion_tokens=left, tool_choice=choice)
