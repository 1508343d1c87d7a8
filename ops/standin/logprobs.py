"""Log probabilities in the two forms of the wire. They are invented: there is no distribution to report."""

from typing import Any

_CHOSEN = -0.125
_RUNNERS_UP = (" the", " a", " of", " to", " and")
_STEP = -1.5


def describe_chat_tokens(pieces: list[str], top: int) -> dict[str, Any]:
    """Describe tokens as chat completions do."""
    return {"content": [_describe(piece, top) for piece in pieces]}


def describe_completion_tokens(pieces: list[str], top: int, offset: int) -> dict[str, Any]:
    """Describe tokens as text completions do; vLLM reports the chosen token beside the `top` asked for."""
    offsets: list[int] = []
    for piece in pieces:
        offsets.append(offset)
        offset += len(piece)
    return {
        "text_offset": offsets,
        "token_logprobs": [_CHOSEN] * len(pieces),
        "tokens": pieces,
        "top_logprobs": [dict(_rank(piece, top + 1)) for piece in pieces],
    }


def _describe(piece: str, top: int) -> dict[str, Any]:
    ranked = [_entry(token, logprob) for token, logprob in _rank(piece, top)]
    return {**_entry(piece, _CHOSEN), "top_logprobs": ranked}


def _entry(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode())}


def _rank(piece: str, most: int) -> list[tuple[str, float]]:
    """Rank the chosen token and the runners-up."""
    candidates = [piece, *(token for token in _RUNNERS_UP if token != piece)][:most]
    return [(token, _CHOSEN + _STEP * rank) for rank, token in enumerate(candidates)]
