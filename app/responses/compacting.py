"""Makes a context shorter: what users said is kept word for word, and a model's summary stands for all else.

Both are in one item, since the SDK's types know no message of a user in what a server answers. There is no summariser
but the model itself: it is asked in a turn of which nothing is written.
"""

from collections.abc import Sequence

from app.engine.context import PastMessage, Told
from app.errors import ApiError, InvalidRequest, Unavailable
from app.items.compaction import packed
from app.items.schemas import ShownCompaction, ShownMessage, ShownOutputText
from app.kit.ids import new_id
from app.responses.schemas import CompactInput, Compaction, CreateResponse, Response

INSTRUCTIONS = (
    "You summarise conversations so that they can be continued without their text. State what was asked, found, "
    "decided and left open, with every name, number, identifier and preference that matters later. Say nothing else."
)
RETRY_AFTER_S = 5
QUESTION = PastMessage("user", "Summarise the conversation so far.")


def request_of(body: CompactInput) -> CreateResponse:
    """Return the request whose answer is the summary. The instructions of the context are part of what is summed up."""
    told = f"{INSTRUCTIONS}\nThe conversation's own instructions were:\n{body.instructions}"
    return CreateResponse(
        model=body.model,
        input=body.input,
        instructions=told if body.instructions else INSTRUCTIONS,
        previous_response_id=body.previous_response_id,
        truncation="auto",
        store=False,
    )


def compaction_of(said: Sequence[Told], summary: Response) -> Compaction:
    """Return what is left of a context. Raises what the summary failed with."""
    if summary.error is not None:
        raise _failure(summary)
    messages = [item for item in summary.output if isinstance(item, ShownMessage)]
    texts = [part.text for item in messages for part in item.content if isinstance(part, ShownOutputText)]
    kept = "\n\n".join(["".join(texts), "What the user said, word for word:", *_user_texts(said)])
    assert summary.usage is not None  # it has ended
    return Compaction(
        id=new_id("resp"),
        created_at=summary.created_at,
        output=[ShownCompaction(id=new_id("cmp"), encrypted_content=packed(kept))],
        usage=summary.usage,
    )


def _user_texts(said: Sequence[Told]) -> list[str]:
    return [past.texts()[0] for past in said if isinstance(past, PastMessage) and past.role == "user"]


def _failure(summary: Response) -> ApiError:
    error = summary.error
    assert error is not None
    if error.code == "invalid_prompt":
        return InvalidRequest(error.message, param="input", code="invalid_prompt")
    return Unavailable(error.message, code=error.code, retry_after_s=RETRY_AFTER_S)
