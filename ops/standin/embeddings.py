"""POST /v1/embeddings: unit vectors of hashed words, so that texts which share words lie close together."""

import base64
import math
import os
import re
import struct
import time
import zlib
from typing import Any

from aiohttp import web

from ops.standin import checks
from ops.standin.engine import Engine
from ops.standin.reading import read_request
from ops.standin.refusals import refuse_value
from ops.standin.sending import send_json
from ops.standin.text_completions import Prompt, count_prompt, list_prompts
from ops.standin.wire import EmbeddingRequest

DEFAULT_DIMENSIONS = 384

_WORD = re.compile(r"\w+")
_PLACES_PER_WORD = 4


async def embed(engine: Engine, request: web.Request) -> web.Response:
    """Embed one text or several."""
    asked = await read_request(request, EmbeddingRequest)
    checks.check_model(asked.model, engine.config)
    dimensions = DEFAULT_DIMENSIONS if asked.dimensions is None else asked.dimensions
    if dimensions < 1:
        raise refuse_value(f"dimensions must be at least 1, got {dimensions}.", "dimensions", dimensions)
    inputs = list_prompts(asked.input)
    sizes = [count_prompt(text) for text in inputs]
    for size in sizes:
        checks.check_room(size, "max_tokens", None, engine.config)
    vectors = [place_text(text, dimensions) for text in inputs]
    return send_json(_build_body(asked, vectors, sum(sizes), engine.config.model))


def place_text(text: Prompt, dimensions: int) -> list[float]:
    """Give a text its unit vector: every word pushes a few coordinates, chosen by its checksum."""
    words = _WORD.findall(text.lower()) if isinstance(text, str) else [str(token) for token in text]
    vector = [0.0] * dimensions
    for word in words or [""]:
        for place in range(_PLACES_PER_WORD):
            checksum = zlib.crc32(f"{place}:{word}".encode())
            vector[(checksum >> 1) % dimensions] += 1.0 if checksum & 1 else -1.0
    length = math.hypot(*vector)
    if not length:
        vector[0] = length = 1.0
    return [coordinate / length for coordinate in vector]


def _build_body(asked: EmbeddingRequest, vectors: list[list[float]], tokens: int, model: str) -> dict[str, Any]:
    pack = _pack if asked.encoding_format == "base64" else list
    return {
        "id": f"embd-{os.urandom(8).hex()}",
        "object": "list",
        "created": int(time.time()),
        "model": model,
        "data": [
            {"index": index, "object": "embedding", "embedding": pack(vector)} for index, vector in enumerate(vectors)
        ],
        "usage": {
            "prompt_tokens": tokens,
            "total_tokens": tokens,
            "completion_tokens": 0,
            "prompt_tokens_details": None,
            "completion_tokens_details": None,
        },
    }


def _pack(vector: list[float]) -> str:
    """Pack a vector as little-endian 32-bit floats in base64."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
