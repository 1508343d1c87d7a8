"""What it costs to say who asks: the layers of keys and of limits, with as many keys in memory as a large desk has."""

import random
import tempfile
import time
from functools import partial
from pathlib import Path

from app.db.database import WriteTx
from app.db.opening import open_database
from app.keys.limits import UNLIMITED, Limits
from app.keys.opening import opened_keys
from app.keys.repository import KeyWriter
from app.keys.secret import hash_of, new_key, new_key_id
from app.kit.clock import SystemClock
from app.kit.wire import to_json
from app.limits.ledger import Ledger
from app.limits.limiter import Limiter
from app.settings import load_settings
from app.web.asgi import Receive, Scope, Send
from app.web.auth import Auth
from app.web.rate_limit import RateLimit
from bench.load import quantile_of
from bench.table import Row

KEYS = 10_000
REQUESTS = 100_000
PEPPER = "p" * 64
HEADERS = [
    (b"host", b"127.0.0.1:8001"),
    (b"accept-encoding", b"gzip, deflate"),
    (b"connection", b"keep-alive"),
    (b"accept", b"application/json"),
    (b"content-type", b"application/json"),
    (b"user-agent", b"OpenAI/Python 3.54.0"),
    (b"x-stainless-lang", b"python"),
    (b"openai-beta", b"assistants=v2"),
]


async def admission(seconds: float) -> list[Row]:
    """Measure a request through the layer of keys: the first with each key, which reads it, and those that follow."""
    del seconds
    with tempfile.TemporaryDirectory(prefix="sovereign-bench-") as folder:
        url = f"sqlite:///{Path(folder)}/keys.db"
        database = await open_database(url)
        settings = load_settings({"DATABASE_URL": url, "KEY_PEPPER": PEPPER, "API_KEY": "sk-bench"})
        texts = [new_key(new_key_id()).encode() for _ in range(KEYS)]
        async with opened_keys(settings, database, SystemClock()) as keys:
            await database.write(partial(_add, texts=texts))
            layer = Auth(_answer, ring=lambda: keys.ring)
            first = [await _timed(layer, text) for text in texts]
            limited = Auth(RateLimit(_answer, limiter=_limiter()), ring=lambda: keys.ring)
            for text in texts:
                await _timed(limited, text)
            both = [await _timed(limited, random.choice(texts)) for _ in range(REQUESTS)]
            later = [await _timed(layer, random.choice(texts)) for _ in range(REQUESTS)]
        await database.close()
    return [
        Row(f"first use of each of {KEYS:,} keys", _spelled(first), aim="one read"),
        Row(f"authentication of a request, {KEYS:,} keys", _spelled(later), aim="≤ 20 µs"),
        Row(f"authentication and limits of a request, {KEYS:,} keys", _spelled(both), aim="≤ 60 µs"),
    ]


def _add(tx: WriteTx, texts: list[bytes]) -> None:
    writer = KeyWriter(tx)
    for text in texts:
        writer.add_key(
            {
                "id": f"key_{text[7:19].decode()}",
                "project_id": "proj_default",
                "name": "bench",
                "scopes": '["assistants"]',
                "limits": to_json(UNLIMITED),
                "generation": 0,
                "hash": hash_of(PEPPER.encode(), text).hex(),
                "created_at": 0,
                "changed_at": 0,
            }
        )


def _limiter() -> Limiter:
    """Return what holds each key to every kind of limit, none of which is ever reached."""
    clock = SystemClock()
    return Limiter(clock, Ledger(clock), Limits(**dict.fromkeys(Limits.__struct_fields__, 10**9)))


async def _timed(layer: Auth, text: bytes) -> float:
    """Return the microseconds of one request through the layer."""
    headers = [*HEADERS, (b"authorization", b"Bearer " + text)]
    state = {"request_id": "req_bench", "address": "127.0.0.1"}
    scope: Scope = {"type": "http", "method": "GET", "path": "/v1/threads/thread_1", "headers": headers, "state": state}
    began = time.perf_counter_ns()
    await layer(scope, _receive, _send)
    return (time.perf_counter_ns() - began) / 1000


async def _answer(_: Scope, __: Receive, send: Send) -> None:
    """Stand for the rest of the server."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})


async def _receive() -> dict[str, str]:
    return {}


async def _send(_: object) -> None:
    """Take an answer that never comes."""


def _spelled(micros: list[float]) -> str:
    median, late = (quantile_of(micros, at) for at in (0.5, 0.99))
    return f"{median:.1f} µs, 99th percentile {late:.1f} µs"
