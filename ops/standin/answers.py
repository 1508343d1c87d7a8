"""One answer, planned whole before any of it is sent: its text or calls as tokens, cut where asked.

What goes on the wire, and when, is decided elsewhere.
"""

import json
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from ops.standin import tokens
from ops.standin.engine import FinishReason
from ops.standin.json_answers import make_instance
from ops.standin.replies import compose_reply, find_question, obey_command
from ops.standin.tool_calls import CallStyle, PlannedCall, plan_calls
from ops.standin.wire import ChatRequest, JsonSchemaFormat, Message, ResponseFormat, SamplingRequest


class Call(Struct):
    """A tool call: how many tokens pass before its name is out, and its arguments as tokens."""

    id: str
    name: str
    name_tokens: int
    pieces: list[str]

    @property
    def arguments(self) -> str:
        """Join the arguments."""
        return "".join(self.pieces)


class Answer(Struct):
    """What one choice says. `tokens` may exceed the pieces: a stop string is spent but not shown."""

    pieces: list[str]
    tokens: int
    finish_reason: FinishReason = "stop"
    stop_reason: str | None = None
    calls: list[Call] = []
    call_style: CallStyle = "auto"

    @property
    def text(self) -> str:
        """Join the text."""
        return "".join(self.pieces)

    @property
    def named_finish(self) -> str:
        """Name the end as vLLM does: calls say "tool_calls", but one chosen by name says "stop"."""
        if self.calls and self.call_style != "named" and self.finish_reason == "stop":
            return "tool_calls"
        return self.finish_reason


def plan_chat_answer(request: ChatRequest, room: int) -> Answer:
    """Plan the answer to a chat, at most `room` tokens long."""
    style, calls = plan_calls(request)
    if calls:
        return _answer_with_calls(style, calls, room)
    return _answer_with_text(_write_text(request), request, room)


def plan_completion_answer(prompt: str, request: SamplingRequest, room: int) -> Answer:
    """Plan the continuation of a prompt as if a user had said it."""
    reply = compose_reply([Message(role="user", content=prompt)])
    return _answer_with_text(reply, request, room)


def _write_text(request: ChatRequest) -> str:
    match request.response_format:
        case ResponseFormat(type="json_schema", json_schema=JsonSchemaFormat(schema=dict() as schema)):
            return json.dumps(make_instance(schema, find_question(request.messages)), ensure_ascii=False)
        case ResponseFormat(type="json_object"):
            return _write_json_object(request.messages)
        case _:
            return compose_reply(request.messages)


def _write_json_object(messages: Sequence[Message]) -> str:
    """Write an object around the reply, unless the user dictated one."""
    commanded = obey_command(find_question(messages))
    if commanded is not None and isinstance(_parse(commanded), dict):
        return commanded
    return json.dumps({"answer": compose_reply(messages), "stand_in": True}, ensure_ascii=False)


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return None


def _answer_with_text(text: str, request: SamplingRequest, room: int) -> Answer:
    pieces = tokens.split(text)
    finish: FinishReason = "stop" if len(pieces) <= room else "length"
    pieces = pieces[:room]
    kept = "".join(pieces)
    found = [(kept.find(stop), stop) for stop in request.stops if stop in kept]
    if not found:
        return Answer(pieces=pieces, tokens=len(pieces), finish_reason=finish)
    start, stop = min(found)
    end = start + len(stop)
    shown = end if request.include_stop_str_in_output else start
    return Answer(pieces=_cut(pieces, shown), tokens=len(_cut(pieces, end)), stop_reason=stop)


def _cut(pieces: list[str], chars: int) -> list[str]:
    """Keep the first characters; the token that straddles the cut is shortened."""
    kept: list[str] = []
    for piece in pieces:
        if chars <= 0:
            break
        kept.append(piece[:chars])
        chars -= len(piece)
    return kept


def _answer_with_calls(style: CallStyle, planned: list[PlannedCall], room: int) -> Answer:
    calls: list[Call] = []
    left = room
    finish: FinishReason = "stop"
    for call in planned:
        name_tokens, pieces = tokens.count(call.name), tokens.split(call.arguments)
        if name_tokens + len(pieces) > left:
            finish = "length"
            pieces = pieces[: max(0, left - name_tokens)]
        calls.append(Call(id=call.id, name=call.name, name_tokens=min(name_tokens, left), pieces=pieces))
        left -= name_tokens + len(pieces)
        if finish == "length":
            break
    spent = sum(call.name_tokens + len(call.pieces) for call in calls)
    return Answer(pieces=[], tokens=spent, finish_reason=finish, calls=calls, call_style=style)
