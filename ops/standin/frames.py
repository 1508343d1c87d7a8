"""What the streams of both endpoints have in common: how a chunk is framed, and how a stream ends.

A frame is the bytes that one token puts on the wire: nothing, one SSE chunk or several. The constant parts
are encoded once for a stream, so that a chunk costs one small encode and a concatenation.
"""

from itertools import zip_longest
from typing import Any

import msgspec

from ops.standin.identity import SYSTEM_FINGERPRINT, Identity, count_usage
from ops.standin.wire import SamplingRequest

Frame = bytes

encode = msgspec.json.Encoder().encode
_FINGERPRINT = b',"system_fingerprint":' + encode(SYSTEM_FINGERPRINT)
_CHUNK_END = b"}\n\n"
_DONE = b"data: [DONE]\n\n"


class Framer:
    """Frames the chunks of one stream."""

    def __init__(
        self,
        identity: Identity,
        kind: str,
        request: SamplingRequest,
        prompt_tokens: int,
        extra_usage: dict[str, None],
    ) -> None:
        self._chunk_start = b'data: {"id":%b,"object":%b,"created":%d,"model":%b,"choices":[' % (
            encode(identity.id),
            encode(kind),
            identity.created,
            encode(identity.model),
        )
        self._prompt_tokens = prompt_tokens
        self._extra_usage = extra_usage
        self._wants_usage = request.wants_usage
        self._wants_running_usage = request.wants_running_usage

    def open_choice(self, index: int) -> bytes:
        """Start a chunk of one choice, up to its first field after the index."""
        return self._chunk_start + b'{"index":%d,' % index

    def end_chunk(self, spent: int, extra: bytes = b"") -> bytes:
        """End a chunk after its choice; `spent` counts the choice's tokens so far."""
        if not self._wants_running_usage:
            return b"}]" + extra + _CHUNK_END
        usage = count_usage(self._prompt_tokens, spent) | self._extra_usage
        return b'}],"usage":' + encode(usage) + extra + _CHUNK_END

    def end_last_chunk(self, spent: int) -> bytes:
        """End the chunk with the finish reason; the fingerprint is on it unless a usage chunk follows."""
        return self.end_chunk(spent, b"" if self._wants_usage else _FINGERPRINT)

    def close_stream(self, completion_tokens: int) -> bytes:
        """Close a stream: the usage if it was asked for, then [DONE]."""
        if not self._wants_usage:
            return _DONE
        usage = encode(count_usage(self._prompt_tokens, completion_tokens))
        return self._chunk_start + b'],"usage":' + usage + _FINGERPRINT + _CHUNK_END + _DONE


def describe_finish(finish_reason: str, stop_reason: str | None) -> bytes:
    """Write the fields that end a choice."""
    return b',"finish_reason":' + encode(finish_reason) + b',"stop_reason":' + encode(stop_reason)


def interleave(tracks: list[list[Frame]]) -> list[Frame]:
    """Put the frames of choices that are generated side by side into one row."""
    if len(tracks) == 1:
        return tracks[0]
    return [b"".join(step) for step in zip_longest(*tracks, fillvalue=b"")]


def write_logprobs(logprobs: dict[str, Any] | None) -> bytes:
    """Write the logprobs field."""
    return b',"logprobs":' + encode(logprobs)
