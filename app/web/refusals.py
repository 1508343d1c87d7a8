"""Turns msgspec's word on a wrong value into OpenAI's: text, `param` and `code`. Pure.

msgspec stops at the first fault and says where: "Expected `str`, got `int` - at `$.tools[0].type`".
"""

import re
from collections.abc import Mapping
from typing import Any

from app.errors import InvalidRequest

_WHERE = re.compile(r"^(?P<what>.*?)(?: - at (?P<key>`key` in )?`\$(?P<path>[^`]*)`)?$", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.+)`")
_UNKNOWN = re.compile(r"Object contains unknown field `(.+)`")
_LENGTH = re.compile(r"Expected `(str|array|object)` of length (<=|>=|==) (\d+)")
_BOUND = re.compile(r"Expected `(int|float)` (<=|>=|<|>) (-?[\d.]+)")
_PATTERN = re.compile(r"Expected `str` matching regex '(.*)'")
_TYPE = re.compile(r"Expected `(.+)`, got `(.+)`")
_EXCLUSIVE = re.compile(r"Only one of (.+) may be given")
_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+|\.\.\.)\]")

NO_HINTS: Mapping[str, str] = {}

_NAMES = {
    "str": "a string",
    "int": "an integer",
    "float": "a decimal",
    "bool": "a boolean",
    "array": "an array",
    "object": "an object",
    "null": "null",
}


def refusal(error: str, sent: Any, hints: Mapping[str, str] = NO_HINTS) -> InvalidRequest:
    """Return the error for a msgspec.ValidationError's text, given what was sent.

    `hints` say of places, `tools[].type`, what there is to choose from.
    """
    found = _WHERE.match(error)
    assert found is not None
    what, path = found["what"], (found["path"] or "").lstrip(".")
    if match := _MISSING.match(what):
        param = _join(path, match[1])
        return _refused(f"Missing required parameter: '{param}'.", param, "missing_required_parameter")
    if match := _UNKNOWN.match(what):
        param = _join(path, match[1])
        return _refused(f"Unknown parameter: '{param}'.", param, "unknown_parameter")
    if match := _EXCLUSIVE.match(what):
        text = f"Mutually exclusive parameters. Ensure you are only providing one of: {match[1]}."
        return _refused(text, path, "mutually_exclusive_parameters")
    length = _LENGTH.match(what)
    if length and found["key"]:
        return _long_key(path, int(length[3]), _value_at(sent, path))
    path = _named(path, sent, int(length[3]) if length else None)
    value = _value_at(sent, path)
    if length:
        return _wrong_length(path, length[1], length[2], int(length[3]), value)
    if match := _BOUND.match(what):
        return _out_of_bounds(path, match[1], match[2], match[3], value)
    if match := _PATTERN.match(what):
        text = (
            f"Invalid '{path}': string does not match pattern. Expected a string that matches the pattern '{match[1]}'."
        )
        return _refused(text, path, "invalid_value")
    if match := _TYPE.match(what):
        return _wrong_type(path, match[1], match[2])
    shown = repr(value) if isinstance(value, str) else value
    if hint := hints.get(re.sub(r"\d+", "", path)):
        return _refused(f"Invalid value: {shown}. {hint}", path, "invalid_value")
    return _refused(f"Invalid value for '{path}': {shown}.", path or None, "invalid_value")


def _refused(message: str, param: str | None, code: str) -> InvalidRequest:
    return InvalidRequest(message, param=param, code=code)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _value_at(sent: Any, path: str) -> Any:
    """Walk to the value that msgspec complained of; None where its path has a gap."""
    for name, index in _STEP.findall(path):
        try:
            sent = sent[name] if name else sent[int(index)]
        except (KeyError, IndexError, TypeError, ValueError):
            return None
    return sent


def _named(path: str, sent: Any, most: int | None) -> str:
    """Name the entry of a map that msgspec calls `[...]`: the first whose value is no text, or too long a text."""
    if not path.endswith("[...]"):
        return path
    whole = path.removesuffix("[...]")
    for key, value in _value_at(sent, whole).items():
        if not isinstance(value, str) or (most is not None and len(value) > most):
            return f"{whole}.{key}"
    return path


def _long_key(path: str, bound: int, pairs: Any) -> InvalidRequest:
    got = max(len(key) for key in pairs)
    text = (
        f"Invalid '{path}': key too long. Expected keys with maximum length {bound}, "
        f"but got a key with length {got} instead."
    )
    return _refused(text, path, "string_above_max_length")


def _wrong_length(path: str, kind: str, sign: str, bound: int, value: Any) -> InvalidRequest:
    most = sign == "<="
    got = len(value) if isinstance(value, str | list | dict) else None
    if kind == "object":
        text = f"Invalid '{path}': too many properties. Expected an object with at most {bound} properties"
        text += f", but got an object with {got} properties instead." if got is not None else "."
        return _refused(text, path, "object_above_max_properties")
    noun = _NAMES[kind].split()[1]
    article = _NAMES[kind].split()[0]
    if not most and got == 0:
        text = f"Invalid '{path}': empty {noun}. Expected {article} {noun} with minimum length {bound}"
        text += f", but got an empty {noun} instead."
        return _refused(text, path, f"empty_{noun}")
    word, limit = ("long", "maximum") if most else ("short", "minimum")
    text = f"Invalid '{path}': {noun} too {word}. Expected {article} {noun} with {limit} length {bound}"
    text += f", but got {article} {noun} with length {got} instead." if got is not None else "."
    return _refused(text, path, f"{noun}_{'above_max' if most else 'below_min'}_length")


def _out_of_bounds(path: str, kind: str, sign: str, bound: str, value: Any) -> InvalidRequest:
    noun = "integer" if kind == "int" else "decimal"
    above = sign.startswith("<")
    shown = bound.removesuffix(".0")
    text = (
        f"Invalid '{path}': {noun} {'above maximum' if above else 'below minimum'} value. "
        f"Expected a value {sign} {shown}, but got {value} instead."
    )
    return _refused(text, path, f"{noun}_{'above_max' if above else 'below_min'}_value")


def _wrong_type(path: str, expected: str, got: str) -> InvalidRequest:
    wanted = [_NAMES.get(name, name) for name in expected.split(" | ") if name != "null"]
    one_of = " or ".join(["one of " + ", ".join(wanted[:-1]), wanted[-1]]) if len(wanted) > 1 else wanted[0]
    where = f" for '{path}'" if path else ""
    text = f"Invalid type{where}: expected {one_of}, but got {_NAMES.get(got, got)} instead."
    return _refused(text, path or None, "invalid_type")
