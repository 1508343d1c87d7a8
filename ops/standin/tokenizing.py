"""POST /tokenize: the tokens of a prompt or of a chat, counted as the completions count them."""

from aiohttp import web

from ops.standin import checks, tokens
from ops.standin.engine import Engine
from ops.standin.reading import read_request
from ops.standin.refusals import refuse_missing
from ops.standin.sending import send_json
from ops.standin.wire import TokenizeRequest, read_prompt_text, write_tools


async def tokenize(engine: Engine, request: web.Request) -> web.Response:
    """Tokenize without answering."""
    asked = await read_request(request, TokenizeRequest)
    checks.check_model(asked.model, engine.config)
    ids, pieces = _tokens(asked, engine)
    return send_json(
        {
            "count": len(ids),
            "max_model_len": engine.config.max_model_len,
            "tokens": ids,
            "token_strs": pieces if asked.return_token_strs else None,
        }
    )


def _tokens(asked: TokenizeRequest, engine: Engine) -> tuple[list[int], list[str]]:
    if asked.messages is not None:
        checks.check_messages(asked.messages, engine.config)
        texts = [read_prompt_text(message) for message in asked.messages]
        tools, opens = write_tools(asked.tools), asked.add_generation_prompt
        return tokens.identify_chat(texts, tools, opens_answer=opens), tokens.split_chat(
            texts, tools, opens_answer=opens
        )
    if asked.prompt is None:
        raise refuse_missing("body.prompt")
    return tokens.identify(asked.prompt), tokens.split(asked.prompt)
