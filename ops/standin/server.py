"""The stand-in's HTTP application: its routes, its key, and the small answers that need no engine.

`create_standin` makes the application; `start_standin` also serves it, with vLLM's keep-alive.
"""

import hmac
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from ops.standin.chat import complete_chat
from ops.standin.config import StandinConfig
from ops.standin.embeddings import embed
from ops.standin.engine import Engine
from ops.standin.identity import IMITATED_VERSION
from ops.standin.refusals import Refused
from ops.standin.sending import send_json, send_nothing, send_text
from ops.standin.text_completions import complete_text
from ops.standin.tokenizing import tokenize

OWNER = "sovereign-standin"
"""The owner named by /v1/models: all that tells a stand-in from vLLM."""

_GUARDED = ("/v1", "/v2", "/inference", "/cohere")
_IDLE_CONNECTION_S = 5.0
_SHUTDOWN_S = 0.4  # open streams are cut off after it; aiohttp waits for it twice
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

EngineHandler = Callable[[Engine, web.Request], Awaitable[web.StreamResponse]]


def create_standin(config: StandinConfig) -> web.Application:
    """Create the application. Serve it with `handler_cancellation`, or nobody notices a client leave."""
    engine = Engine(config)
    # No limit on bodies, as in vLLM: a prompt that is too long gets a 400 that says so.
    app = web.Application(middlewares=[_answer_failures(config.api_key)], client_max_size=0)
    gets: dict[str, EngineHandler] = {
        "/health": _report_health,
        "/ping": _report_health,
        "/version": _report_version,
        "/load": _report_load,
        "/metrics": _report_metrics,
        "/v1/models": _list_models,
    }
    posts: dict[str, EngineHandler] = {
        "/tokenize": tokenize,
        "/v1/chat/completions": complete_chat,
        "/v1/completions": complete_text,
        "/v1/embeddings": embed,
    }
    app.add_routes([web.get(path, partial(handle, engine), allow_head=False) for path, handle in gets.items()])
    app.add_routes([web.post(path, partial(handle, engine)) for path, handle in posts.items()])
    return app


async def start_standin(config: StandinConfig, host: str, port: int) -> tuple[web.AppRunner, str]:
    """Serve a stand-in until the runner is cleaned up; give its URL, with the port that was free for 0."""
    runner = web.AppRunner(
        create_standin(config),
        access_log=None,
        handler_cancellation=True,
        keepalive_timeout=_IDLE_CONNECTION_S,
        shutdown_timeout=_SHUTDOWN_S,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError:
        await runner.cleanup()
        raise
    name = f"[{host}]" if ":" in host else host
    return runner, f"http://{name}:{runner.addresses[0][1]}"


def _answer_failures(api_key: str | None) -> Middleware:
    """Make the middleware that asks for the key where vLLM does, and gives refusals the bodies of vLLM."""
    expected = None if api_key is None else api_key.encode()

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        if expected is not None and request.path.startswith(_GUARDED) and not _shows_key(request, expected):
            return send_json({"error": "Unauthorized"}, 401)
        try:
            return await handler(request)
        except Refused as refusal:
            return send_json(refusal.body(), refusal.status)
        except web.HTTPException as problem:  # aiohttp's own 404 and 405
            return send_json({"detail": problem.reason}, problem.status)

    return answer


def _shows_key(request: web.Request, expected: bytes) -> bool:
    if request.method == "OPTIONS":
        return True
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(key.encode(errors="replace"), expected)


async def _report_health(engine: Engine, request: web.Request) -> web.Response:
    return send_nothing()


async def _report_version(engine: Engine, request: web.Request) -> web.Response:
    return send_json({"version": IMITATED_VERSION})


async def _report_load(engine: Engine, request: web.Request) -> web.Response:
    return send_json({"server_load": 0})  # vLLM counts only with --enable-server-load-tracking


async def _report_metrics(engine: Engine, request: web.Request) -> web.Response:
    return send_text(engine.metrics.render(engine.read_gauges()), _METRICS_TYPE)


async def _list_models(engine: Engine, request: web.Request) -> web.Response:
    now = int(time.time())
    card = {
        "id": engine.config.model,
        "object": "model",
        "created": now,
        "owned_by": OWNER,
        "root": engine.config.model,
        "parent": None,
        "max_model_len": engine.config.max_model_len,
        "permission": [_permit(now)],
    }
    return send_json({"object": "list", "data": [card]})


def _permit(now: int) -> dict[str, Any]:
    return {
        "id": "modelperm-0000000000000000",
        "object": "model_permission",
        "created": now,
        "allow_create_engine": False,
        "allow_sampling": True,
        "allow_logprobs": True,
        "allow_search_indices": False,
        "allow_view": True,
        "allow_fine_tuning": False,
        "organization": "*",
        "group": None,
        "is_blocking": False,
    }
