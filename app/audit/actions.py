"""What is recorded: the names of actions, `<object>.<verb>`. A new one is added here and nowhere else."""

from typing import Literal, get_args

Action = Literal[
    "assistant.create",
    "assistant.update",
    "assistant.delete",
    "thread.create",
    "thread.update",
    "thread.delete",
    "message.create",
    "message.update",
    "message.delete",
    "item.create",
    "item.delete",
    "run.create",
    "run.update",
    "run.cancel",
    "run.submit_tool_outputs",
    "response.create",
    "response.cancel",
    "response.delete",
    "chat_completion.create",
    "chat_completion.update",
    "chat_completion.delete",
    "project.create",
    "project.update",
    "project.archive",
    "project.import",
    "key.create",
    "key.update",
    "key.rotate",
    "key.revoke",
    "access.denied",
    "admin.failed",
]
"""Every action that is recorded.

The first part is the kind of object whose id the record names, the second what was done to it: `create`, `update`
(also of metadata alone), `delete` (with all that goes with the object), and what a kind has of its own. Such a record
is in the transaction of its change, so its outcome is always `ok`. Two kinds are written without a change, and their
outcome is the code of the error that was answered:

- `access.denied`: a request was refused for its key, or for want of one (401, 403);
- `admin.failed`: a request under /admin got past its key and was refused all the same.
"""

ACTIONS: frozenset[str] = frozenset(get_args(Action))

DONE = "ok"
"""The outcome of everything that was done."""
