"""POST /v1/chat/completions: check, plan the answer, send it."""

from aiohttp import web

from ops.standin import checks, tokens
from ops.standin.answers import plan_chat_answer
from ops.standin.bodies import build_chat_body
from ops.standin.chat_frames import build_chat_frames
from ops.standin.engine import Engine, Job
from ops.standin.identity import identify_answer
from ops.standin.reading import read_request
from ops.standin.sending import send_json, stream
from ops.standin.wire import ChatRequest, read_prompt_text, write_tools


async def complete_chat(engine: Engine, request: web.Request) -> web.StreamResponse:
    """Answer a chat, streamed or not."""
    asked = await read_request(request, ChatRequest)
    prompt_tokens, room = _admit(asked, engine)
    answer = plan_chat_answer(asked, room)
    identity = identify_answer("chatcmpl", request, engine.config.model)
    job = Job(
        prompt_tokens=prompt_tokens,
        steps=max(1, answer.tokens),
        completion_tokens=answer.tokens * asked.choices,
        finish_reasons=[answer.finish_reason] * asked.choices,
    )
    if asked.stream:
        return await stream(request, engine, job, build_chat_frames(identity, asked, answer, prompt_tokens))
    await engine.complete(job)
    return send_json(build_chat_body(identity, asked, answer, prompt_tokens))


def _admit(asked: ChatRequest, engine: Engine) -> tuple[int, int]:
    """Check everything in vLLM's order; give the tokens of the prompt and the tokens left for the answer."""
    config = engine.config
    checks.check_chat(asked)
    checks.check_model(asked.model, config)
    engine.check_queue()
    checks.check_messages(asked.messages, config)
    texts = [read_prompt_text(message) for message in asked.messages]
    tools_json = write_tools(asked.tools)
    checks.check_length([*texts, tools_json], config)
    prompt_tokens = tokens.count_chat(texts, tools_json)
    name, limit = asked.output_limit
    checks.check_room(prompt_tokens, name, limit, config)
    checks.check_sampling(asked, limit)
    room = config.max_model_len - prompt_tokens
    return prompt_tokens, room if limit is None else min(room, limit)
