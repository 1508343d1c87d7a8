"""The two names of one thing: a conversation has the id of its thread, but for what it begins with."""


def conversation_of(thread_id: str) -> str:
    """Return the id by which a thread is known as a conversation."""
    return f"conv{thread_id.removeprefix('thread')}"


def thread_of(conversation_id: str) -> str:
    """Return the id of a conversation's thread."""
    return f"thread{conversation_id.removeprefix('conv')}"
