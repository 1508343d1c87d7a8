"""Which functions the stand-in calls, and with what arguments.

Forced by tool_choice "required" or a name, as vLLM's grammar forces them, on every turn. With "auto"
called when the last user message shares a word with the function's name or description, until a tool answers.
"""

import json
import os
import re
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from ops.standin.json_answers import make_instance
from ops.standin.replies import find_question, obey_command
from ops.standin.wire import ChatRequest, FunctionDefinition, Tool

CallStyle = Literal["auto", "required", "named"]

_LEAST_LETTERS = 4
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
# Words that would match any request with any tool.
_COMMON = """
about also been does each from function gets give given have into just like make more need only over please
return returns should some such take tell than that their them then there these they this tool used user uses
using very want were what when where which will with would your
"""
_COMMON_WORDS = frozenset(_WORD.findall(_COMMON))


class PlannedCall(Struct):
    """One call as it will be answered."""

    id: str
    name: str
    arguments: str


def plan_calls(request: ChatRequest) -> tuple[CallStyle, list[PlannedCall]]:
    """Decide how tools are chosen, and plan the calls to make; none means a text answer."""
    message = find_question(request.messages)
    style, chosen = _choose_tools(request, message)
    if request.parallel_tool_calls is False:
        chosen = chosen[:1]
    return style, [_plan_call(tool.function, message) for tool in chosen]


def _choose_tools(request: ChatRequest, message: str) -> tuple[CallStyle, Sequence[Tool]]:
    tools = request.tools or []
    choice = request.effective_tool_choice
    if isinstance(choice, dict):
        wanted = choice["function"]["name"]
        return "named", [tool for tool in tools if tool.function.name == wanted][:1]
    if choice == "required":
        return "required", _match_tools(tools, message) or tools[:1]
    answered = bool(request.messages) and request.messages[-1].role == "tool"
    if choice == "none" or answered or obey_command(message) is not None:
        return "auto", []
    return "auto", _match_tools(tools, message)


def _match_tools(tools: Sequence[Tool], message: str) -> list[Tool]:
    heard = _pick_words(message)
    return [
        tool
        for tool in tools
        if re.search(rf"\b{re.escape(tool.function.name)}\b", message, re.IGNORECASE)
        or heard & _pick_words(f"{tool.function.name} {tool.function.description or ''}")
    ]


def _pick_words(text: str) -> set[str]:
    """Pick the telling words of a text, or of a name in snake or camel case."""
    words = {word.lower() for word in _WORD.findall(text)}
    return {word for word in words if len(word) >= _LEAST_LETTERS} - _COMMON_WORDS


def _plan_call(function: FunctionDefinition, message: str) -> PlannedCall:
    arguments = make_instance(function.parameters, message) if function.parameters else {}
    written = json.dumps(arguments, ensure_ascii=False)
    return PlannedCall(id=f"chatcmpl-tool-{os.urandom(8).hex()}", name=function.name, arguments=written)
