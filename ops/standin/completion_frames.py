"""The stream of a text completion: as a chat's, but plain text, no role chunk, several prompts at once."""

from collections.abc import Sequence

from ops.standin.answers import Answer
from ops.standin.frames import Frame, Framer, describe_finish, encode, interleave, write_logprobs
from ops.standin.identity import Identity
from ops.standin.logprobs import describe_completion_tokens
from ops.standin.wire import CompletionRequest

_IDS = b',"prompt_token_ids":null,"token_ids":null'
_UNFINISHED = b',"finish_reason":null,"stop_reason":null' + _IDS


def build_completion_frames(
    identity: Identity,
    request: CompletionRequest,
    prompts: Sequence[str],
    answers: Sequence[Answer],
    prompt_tokens: int,
) -> list[Frame]:
    """Build the frames of a stream; prompts are continued side by side."""
    framer = Framer(identity, "text_completion", request, prompt_tokens, {})
    pairs = [pair for pair in zip(prompts, answers, strict=True) for _ in range(request.choices)]
    frames = interleave(
        [
            _build_track(framer, framer.open_choice(index), request, prompt if request.echo else "", answer)
            for index, (prompt, answer) in enumerate(pairs)
        ]
    )
    frames[-1] += framer.close_stream(sum(answer.tokens for _, answer in pairs))
    return frames


def _build_track(framer: Framer, head: bytes, request: CompletionRequest, echoed: str, answer: Answer) -> list[Frame]:
    """Build one choice's frames; a prompt to be echoed rides on the first token."""
    texts = [*answer.pieces, *[""] * (answer.tokens - len(answer.pieces))]
    if echoed:
        texts[:1] = [echoed + "".join(texts[:1])]
    offset = 0
    frames: list[Frame] = []
    for spent, text in enumerate(texts, 1):
        logprobs = _write_logprobs(request, text, offset)
        offset += len(text)
        frames.append(
            head + b'"text":' + encode(text) + logprobs + _UNFINISHED + framer.end_chunk(spent) if text else b""
        )
    ending = describe_finish(answer.finish_reason, answer.stop_reason) + _IDS + framer.end_last_chunk(answer.tokens)
    if answer.finish_reason == "length" and texts:
        frames[-1] = head + b'"text":' + encode(texts[-1]) + logprobs + ending
        return frames
    return [*frames[:-1], b"".join(frames[-1:]) + head + b'"text":""' + write_logprobs(None) + ending]


def _write_logprobs(request: CompletionRequest, text: str, offset: int) -> bytes:
    if request.logprobs is None or not text:
        return write_logprobs(None)
    return write_logprobs(describe_completion_tokens([text], request.logprobs, offset))
