"""A program written for OpenAI's Assistants API: every method of it, and what came back as one JSON object.

Runs under SDK 1.x and 3.x with either kind of client. Imports the SDK and the standard library only, because it is
also run by an interpreter that has nothing else. Judges nothing: test_assistants_program.py does.
"""

import asyncio
import json
import sys
from typing import Any

import openai

from tests.e2e.programs.either_client import Noting, offered, opened
from tests.e2e.programs.plain_calls import assistants, messages, models, refusals, threads
from tests.e2e.programs.run_calls import raw, runs, streams, threads_with_runs

RESOURCES = (
    "beta.assistants",
    "beta.threads",
    "beta.threads.messages",
    "beta.threads.runs",
    "beta.threads.runs.steps",
    "models",
)


async def program(client: Any) -> dict[str, Any]:
    """Do all of it with one client and return what was seen, part by part."""
    called: set[str] = set()
    api = Noting(client, called)
    seen: dict[str, Any] = {"version": openai.__version__, "assistants": await assistants(api)}
    assistant_id = seen["assistants"]["full"]["id"]
    seen["threads"] = await threads(api)
    seen["messages"] = await messages(api)
    seen["runs"] = await runs(api, assistant_id)
    seen["threads_with_runs"] = await threads_with_runs(api, assistant_id)
    seen["streams"] = await streams(api, assistant_id)
    seen["raw"] = await raw(api, assistant_id)
    seen["refusals"] = await refusals(api, client, assistant_id)
    seen["models"] = await models(api)
    seen["not_called"] = sorted(offered(client, RESOURCES) - called)
    return seen


async def main(kind: str) -> None:
    """Run with the client that the environment configures, as every OpenAI program may be."""
    make = {"sync": openai.OpenAI, "async": openai.AsyncOpenAI}[kind]
    # Strict: an answer that is not of the SDK's own types is an error.
    client = make(max_retries=0, timeout=20, _strict_response_validation=True)
    async with opened(client):
        print(json.dumps(await program(client)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
