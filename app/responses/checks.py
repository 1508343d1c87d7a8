"""What of a request is refused before anything is looked up. Pure."""

from app.errors import InvalidRequest
from app.responses.asking import AllowedTools, ConversationReference, NamedFunction
from app.responses.schemas import CountInput, CreateResponse
from app.web.queries import require_id

LOGPROBS = "message.output_text.logprobs"


def require_carried_out(body: CreateResponse) -> None:
    """Refuse what this server does not do, rather than leave it out unsaid. Raises InvalidRequest."""
    if body.prompt is not None:
        raise _unsupported("prompt", "this server keeps no prompts. Send the text as `instructions` and `input`")
    if body.top_logprobs:
        raise _unsupported("top_logprobs", "this server tells no log probabilities")
    if LOGPROBS in (body.include or ()):
        raise _unsupported("include", f"this server tells no log probabilities, so `{LOGPROBS}` cannot be included")
    if body.background and body.store is False:
        raise InvalidRequest(
            "Invalid 'background': a response that is made in the background must be stored to be found again.",
            param="background",
            code="invalid_value",
        )
    _require_tools_to_choose(body)


def _unsupported(param: str, why: str) -> InvalidRequest:
    return InvalidRequest(f"Unsupported parameter: '{param}': {why}.", param=param, code="unsupported_parameter")


def _require_tools_to_choose(body: CreateResponse) -> None:
    names = {tool.name for tool in body.tools or ()}
    match body.tool_choice:
        case NamedFunction(name=name):
            wanted = [name]
        case AllowedTools(tools=tools):
            wanted = [tool.name for tool in tools]
        case "required" if not names:
            text = "Tool choice 'required' must be specified with the 'tools' parameter."
            raise InvalidRequest(text, param="tool_choice", code="invalid_value")
        case _:
            wanted = []
    for name in wanted:
        if name not in names:
            text = f"Tool choice '{name}' not found in 'tools' parameter."
            raise InvalidRequest(text, param="tool_choice", code="invalid_value")


def context_of(body: CreateResponse | CountInput) -> tuple[str | None, str | None]:
    """Return the ids of the conversation and of the predecessor, one at most. Raises InvalidRequest."""
    conversation = body.conversation
    if isinstance(conversation, ConversationReference):
        conversation = conversation.id
    if conversation is not None and body.previous_response_id is not None:
        raise InvalidRequest(
            "Mutually exclusive parameters. Ensure you are only providing one of: 'previous_response_id' or "
            "'conversation'.",
            param="previous_response_id",
            code="mutually_exclusive_parameters",
        )
    if conversation is not None:
        require_id("conversation", conversation, "conv")
    return conversation, predecessor_of(body.previous_response_id)


def predecessor_of(response_id: str | None) -> str | None:
    """Return a predecessor's id. Raises InvalidRequest for what can be none."""
    return None if response_id is None else require_id("previous_response_id", response_id, "resp")


def require_input(body: CreateResponse | CountInput) -> None:
    """Refuse a request that says nothing and goes on from nothing. Raises InvalidRequest."""
    if not body.input and body.instructions is None and body.conversation is None and body.previous_response_id is None:
        raise InvalidRequest("Missing required parameter: 'input'.", param="input", code="missing_required_parameter")
