"""POST /v1/completions: one or several prompts, as text or token ids, continued side by side."""

from aiohttp import web

from ops.standin import checks, tokens
from ops.standin.answers import plan_completion_answer
from ops.standin.bodies import build_completion_body
from ops.standin.completion_frames import build_completion_frames
from ops.standin.engine import Engine, Job
from ops.standin.identity import identify_answer
from ops.standin.reading import read_request
from ops.standin.refusals import refuse_value
from ops.standin.sending import send_json, stream
from ops.standin.wire import CompletionRequest

Prompt = str | list[int]


async def complete_text(engine: Engine, request: web.Request) -> web.StreamResponse:
    """Continue prompts, streamed or not."""
    asked = await read_request(request, CompletionRequest)
    prompts = _admit(asked, engine)
    texts = [prompt if isinstance(prompt, str) else "" for prompt in prompts]
    sizes = [count_prompt(prompt) for prompt in prompts]
    answers = [
        plan_completion_answer(text, asked, _leave_room(asked, size, engine))
        for text, size in zip(texts, sizes, strict=True)
    ]
    identity = identify_answer("cmpl", request, engine.config.model)
    job = Job(
        prompt_tokens=sum(sizes),
        steps=max(1, *(answer.tokens for answer in answers)),
        completion_tokens=sum(answer.tokens for answer in answers) * asked.choices,
        finish_reasons=[answer.finish_reason for answer in answers] * asked.choices,
    )
    if asked.stream:
        frames = build_completion_frames(identity, asked, texts, answers, sum(sizes))
        return await stream(request, engine, job, frames)
    await engine.complete(job)
    return send_json(build_completion_body(identity, asked, texts, answers, sum(sizes)))


def list_prompts(sent: str | list[str | int | list[int]] | None) -> list[Prompt]:
    """List the prompts of a request: a bare list of numbers is one prompt of token ids."""
    if isinstance(sent, str):
        return [sent]
    ids = [item for item in sent or [] if isinstance(item, int)]
    return [ids] if ids else [item for item in sent or [] if not isinstance(item, int)]


def count_prompt(prompt: Prompt) -> int:
    """Count the tokens of a prompt, which may be tokens already."""
    return tokens.count(prompt) if isinstance(prompt, str) else len(prompt)


def _admit(asked: CompletionRequest, engine: Engine) -> list[Prompt]:
    checks.check_stream_options(asked)
    prompts = list_prompts(asked.prompt)
    if not prompts or asked.prompt == "":
        raise refuse_value("Either prompt or prompt_embeds must be provided and non-empty.", "prompt")
    checks.check_model(asked.model, engine.config)
    engine.check_queue()
    for prompt in prompts:
        if isinstance(prompt, str):
            checks.check_length([prompt], engine.config)
        checks.check_room(count_prompt(prompt), "max_tokens", asked.max_tokens, engine.config)
    checks.check_sampling(asked, asked.max_tokens)
    return prompts


def _leave_room(asked: CompletionRequest, prompt_tokens: int, engine: Engine) -> int:
    room = engine.config.max_model_len - prompt_tokens
    return room if asked.max_tokens is None else min(room, asked.max_tokens)
