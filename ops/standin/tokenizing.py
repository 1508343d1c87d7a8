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
    ids = _identify(asked, engine)
    return send_json(
        {
            "count": len(ids),
            "max_model_len": engine.config.max_model_len,
            "tokens": ids,
            "token_strs": tokens.split(asked.prompt or "") if asked.return_token_strs else None,
        }
    )


def _identify(asked: TokenizeRequest, engine: Engine) -> list[int]:
    if asked.messages is not None:
        checks.check_messages(asked.messages, engine.config)
        texts = [read_prompt_text(message) for message in asked.messages]
        return tokens.identify_chat(texts, write_tools(asked.tools), opens_answer=asked.add_generation_prompt)
    if asked.prompt is None:
        raise refuse_missing("body.prompt")
    return tokens.identify(asked.prompt)
