"""What is refused of conversations and their items, in the original's words."""

from app.errors import InvalidRequest, NotFound
from app.items.names import conversation_of


def conversation_locked() -> InvalidRequest:
    """Return the refusal of a conversation that a turn holds."""
    return InvalidRequest(
        "Another process is currently operating on this conversation. Please retry in a few seconds.",
        param="conversation",
        code="conversation_locked",
    )


def unknown_conversation(thread_id: str) -> NotFound:
    """Return the refusal of a conversation that is not there."""
    return NotFound(f"Conversation with id '{conversation_of(thread_id)}' not found.")


def unknown_item(item_id: str, thread_id: str) -> NotFound:
    """Return the refusal of an item that is not in a conversation."""
    return NotFound(f"Item with id '{item_id}' not found in conversation '{conversation_of(thread_id)}'.")


def unknown_reference(item_id: str, param: str) -> NotFound:
    """Return the refusal of a reference to an item that the project does not have."""
    return NotFound(f"Item with id '{item_id}' not found.", param=param)
