"""Which operations the product promises by now. A later issue adds its lines here and nowhere else."""

from collections.abc import Iterable

from .extensions import OPERATIONS

IN_SCOPE = (
    "GET /assistants",
    "POST /assistants",
    "GET /assistants/{assistant_id}",
    "POST /assistants/{assistant_id}",
    "DELETE /assistants/{assistant_id}",
    "POST /threads",
    "GET /threads/{thread_id}",
    "POST /threads/{thread_id}",
    "DELETE /threads/{thread_id}",
    "GET /threads/{thread_id}/messages",
    "POST /threads/{thread_id}/messages",
    "GET /threads/{thread_id}/messages/{message_id}",
    "POST /threads/{thread_id}/messages/{message_id}",
    "DELETE /threads/{thread_id}/messages/{message_id}",
    "POST /threads/runs",
    "GET /threads/{thread_id}/runs",
    "POST /threads/{thread_id}/runs",
    "GET /threads/{thread_id}/runs/{run_id}",
    "POST /threads/{thread_id}/runs/{run_id}",
    "POST /threads/{thread_id}/runs/{run_id}/cancel",
    "POST /threads/{thread_id}/runs/{run_id}/submit_tool_outputs",
    "GET /threads/{thread_id}/runs/{run_id}/steps",
    "GET /threads/{thread_id}/runs/{run_id}/steps/{step_id}",
    "POST /responses",
    "GET /responses/{response_id}",
    "DELETE /responses/{response_id}",
    "POST /responses/{response_id}/cancel",
    "GET /responses/{response_id}/input_items",
    "POST /responses/input_tokens",
    "POST /responses/compact",
    "POST /conversations",
    "GET /conversations/{conversation_id}",
    "POST /conversations/{conversation_id}",
    "DELETE /conversations/{conversation_id}",
    "GET /conversations/{conversation_id}/items",
    "POST /conversations/{conversation_id}/items",
    "GET /conversations/{conversation_id}/items/{item_id}",
    "DELETE /conversations/{conversation_id}/items/{item_id}",
    "GET /chat/completions",
    "GET /chat/completions/{completion_id}",
    "POST /chat/completions/{completion_id}",
    "DELETE /chat/completions/{completion_id}",
    "GET /chat/completions/{completion_id}/messages",
)


PROMISED = (*IN_SCOPE, *OPERATIONS)
"""With what the original lacked."""


def unseen(seen: Iterable[str]) -> list[str]:
    """List what is in scope and was never answered with success, in the order of the scope."""
    known = set(seen)
    return [operation for operation in PROMISED if operation not in known]
