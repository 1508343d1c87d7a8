"""Reading a request's body, and saying what is wrong with it in the words of vLLM (which are pydantic's)."""

import re
from typing import TypeVar

import msgspec
from aiohttp import web

from ops.standin.refusals import Refused, refuse_media_type, refuse_missing, refuse_shape

T = TypeVar("T")

_MISSING = re.compile(r"missing required field `(\w+)`")
_EXPECTED = re.compile(r"Expected `(\w+)")
_PLACE = re.compile(r" - at `\$(.*)`$")
_BYTE = re.compile(r"\(byte (\d+)\)")
_PYDANTIC_TYPES = {
    "array": ("list_type", "Input should be a valid list"),
    "object": ("dict_type", "Input should be a valid dictionary"),
    "str": ("string_type", "Input should be a valid string"),
    "int": ("int_type", "Input should be a valid integer"),
    "float": ("float_type", "Input should be a valid number"),
    "bool": ("bool_type", "Input should be a valid boolean"),
}


async def read_request(request: web.Request, shape: type[T]) -> T:
    """Read the body as `shape`, or refuse it."""
    if request.content_type != "application/json":
        raise refuse_media_type()
    body = await request.read()
    if not body:
        raise refuse_missing("body")
    try:
        return msgspec.json.decode(body, type=shape, strict=False)
    except msgspec.ValidationError as error:
        raise _explain_mismatch(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _explain_bad_json(str(error)) from error


def _explain_mismatch(problem: str) -> Refused:
    place = _PLACE.search(problem)
    where = "body" + re.sub(r"\[(\w+|\.\.\.)\]", r".\1", place[1] if place else "")
    if missing := _MISSING.search(problem):
        return refuse_missing(f"{where}.{missing[1]}")
    if (expected := _EXPECTED.search(problem)) and expected[1] in _PYDANTIC_TYPES:
        kind, text = _PYDANTIC_TYPES[expected[1]]
    else:
        kind, text = "value_error", _PLACE.sub("", problem)
    return refuse_shape(str({"type": kind, "loc": where, "msg": text}), where)


def _explain_bad_json(problem: str) -> Refused:
    byte = _BYTE.search(problem)
    where = f"body.{byte[1] if byte else 0}"
    detail = {"type": "json_invalid", "loc": where, "msg": "JSON decode error", "ctx": {"error": problem}}
    return refuse_shape(str(detail), where)
