"""The stream of a chat completion: a role chunk, one for each token, a last one with the finish reason."""

from ops.standin.answers import Answer, Call
from ops.standin.frames import Frame, Framer, describe_finish, encode, interleave, write_logprobs
from ops.standin.identity import Identity
from ops.standin.logprobs import describe_chat_tokens
from ops.standin.wire import ChatRequest

Delta = bytes

_ROLE = b'"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null'
_PROMPT_FIELDS = b',"prompt_token_ids":null,"prompt_text":null'
_TOKEN_IDS = b',"token_ids":null'
_NOTHING_YET = b""  # the delta of a token that shows nothing, as those of a function's name before it is whole


def build_chat_frames(identity: Identity, request: ChatRequest, answer: Answer, prompt_tokens: int) -> list[Frame]:
    """Build the frames of a stream, one for each token."""
    framer = Framer(identity, "chat.completion.chunk", request, prompt_tokens, {"completion_tokens_details": None})
    heads = [framer.open_choice(index) for index in range(request.choices)]
    deltas = _list_deltas(answer)
    frames = interleave([_build_track(head, framer, request, answer, deltas) for head in heads])
    role_end = framer.end_chunk(0, _PROMPT_FIELDS)
    frames[0] = b"".join(head + _ROLE + role_end for head in heads) + frames[0]
    frames[-1] += framer.close_stream(answer.tokens * request.choices)
    return frames


def _build_track(head: bytes, framer: Framer, request: ChatRequest, answer: Answer, deltas: list[Delta]) -> list[Frame]:
    """Build one choice's frames; an end by length rides on the last token's chunk, any other has its own."""
    logprobs = _list_logprobs(request, answer, len(deltas))
    middle = b',"finish_reason":null' + _TOKEN_IDS
    frames = [
        head + b'"delta":' + delta + logprob + middle + framer.end_chunk(spent) if delta else b""
        for spent, (delta, logprob) in enumerate(zip(deltas, logprobs, strict=True), 1)
    ] or [b""]
    ending = (
        describe_finish(answer.named_finish, answer.stop_reason) + _TOKEN_IDS + framer.end_last_chunk(answer.tokens)
    )
    if answer.finish_reason == "length" and deltas:
        frames[-1] = head + b'"delta":' + (deltas[-1] or b"{}") + logprobs[-1] + ending
    else:
        frames[-1] += head + b'"delta":' + _write_last_delta(answer) + write_logprobs(None) + ending
    return frames


def _list_deltas(answer: Answer) -> list[Delta]:
    """List what each token adds to the message."""
    deltas = [b'{"content":' + encode(piece) + b"}" for piece in answer.pieces]
    for index, call in enumerate(answer.calls):
        deltas += _list_call_deltas(index, call)
    return deltas + [_NOTHING_YET] * (answer.tokens - len(deltas))


def _list_call_deltas(index: int, call: Call) -> list[Delta]:
    """List a call's deltas: its name once it is whole, then its arguments."""
    opening = b'{"tool_calls":[{"id":%b,"type":"function","index":%d,"function":{"name":%b}}]}' % (
        encode(call.id),
        index,
        encode(call.name),
    )
    name = [*[_NOTHING_YET] * (call.name_tokens - 1), opening] if call.name_tokens else []
    return name + [_write_arguments(index, encode(piece)) for piece in call.pieces]


def _write_arguments(index: int, piece: bytes) -> Delta:
    return b'{"tool_calls":[{"index":%d,"function":{"arguments":%b}}]}' % (index, piece)


def _write_last_delta(answer: Answer) -> Delta:
    """Write the delta beside the finish reason: nothing after text, empty arguments after calls."""
    return _write_arguments(len(answer.calls) - 1, b'""') if answer.calls else b"{}"


def _list_logprobs(request: ChatRequest, answer: Answer, size: int) -> list[bytes]:
    none = write_logprobs(None)
    if not request.logprobs:
        return [none] * size
    top = request.top_logprobs or 0
    told = [write_logprobs(describe_chat_tokens([piece], top)) for piece in answer.pieces]
    return told + [none] * (size - len(told))
