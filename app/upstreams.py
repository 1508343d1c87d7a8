"""The model servers as the operator describes them in MODELS_FILE, a small TOML file (docs/models.md).

Parsing is pure but for the files that keys are read from. Everything that is wrong is told at once.
"""

import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
EXPECTED_NAME = "expected up to 64 letters, digits, dots, dashes and underscores"
PARTS = ("upstream", "aliases")

Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Role = Literal["any", "chat", "embeddings"]
Text = Annotated[str, Meta(min_length=1)]


class UpstreamSpec(Struct, kw_only=True, frozen=True):
    """One model server. What is None is what the settings say for all of them."""

    name: Text
    url: Text
    api_key: Text | None = None
    role: Role = "any"
    models: tuple[Text, ...] = ()
    """Names that it answers for; empty for whatever it says it serves."""
    fallback_for: tuple[Text, ...] = ()
    """Upstreams for all of whose models it stands in, under `fallback_model`, while they are away."""
    fallback_model: Text | None = None
    concurrency: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    """Requests at once."""
    context_window: Annotated[int, Meta(ge=256)] | None = None
    """Tokens."""
    connect_timeout_s: Seconds | None = None
    first_token_timeout_s: Seconds | None = None
    idle_timeout_s: Seconds | None = None

    def plays(self, role: Role) -> bool:
        """Tell whether it takes requests of a kind."""
        return self.role in ("any", role)


class ModelsFile(Struct, frozen=True):
    """Model servers in order of preference, and names that lead to their models."""

    upstreams: tuple[UpstreamSpec, ...]
    aliases: dict[str, str]


class ModelsFileError(Exception):
    """The file cannot be used; `problems` has a line for each reason, and no secret."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


def read_models_file(path: str) -> ModelsFile:
    """Read a file and the keys that it leads to, relative to its own folder. Raises ModelsFileError."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as failure:
        raise ModelsFileError([f"cannot read {path}: {failure.strerror}"]) from None
    except UnicodeDecodeError:
        raise ModelsFileError([f"{path} is not UTF-8"]) from None
    return parsed(text, lambda name: (Path(path).parent / name).read_text(encoding="utf-8").strip())


def parsed(text: str, read_secret: Callable[[str], str]) -> ModelsFile:
    """Understand a file's text. Raises ModelsFileError."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as failure:
        raise ModelsFileError([f"no TOML: {failure}"]) from None
    problems = [f"{part}: unknown; there are [[upstream]] and [aliases]" for part in document if part not in PARTS]
    tables = document.get("upstream", [])
    if not (isinstance(tables, list) and tables and all(isinstance(table, dict) for table in tables)):
        problems.append("upstream: expected at least one [[upstream]]")
        tables = []
    found = [_upstream(table, number, read_secret, problems) for number, table in enumerate(tables, 1)]
    upstreams = tuple(upstream for upstream in found if upstream is not None)
    aliases = document.get("aliases", {})
    if not (isinstance(aliases, dict) and all(isinstance(model, str) and model for model in aliases.values())):
        problems.append('aliases: expected lines such as "gpt-4o" = "llama"')
    if not problems:
        problems += _unsound(upstreams)
    if problems:
        raise ModelsFileError(problems)
    return ModelsFile(upstreams, aliases)


def _upstream(
    table: dict[str, Any], number: int, read_secret: Callable[[str], str], problems: list[str]
) -> UpstreamSpec | None:
    """Convert one table field by field, so that all that is wrong with it is told."""
    label = table["name"] if isinstance(table.get("name"), str) else f"upstream {number}"
    table, wrong = dict(table), []
    if "api_key_file" in table:
        wrong += _take_key(table, read_secret)
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(UpstreamSpec):
        if field.name in table:
            try:
                values[field.name] = msgspec.convert(table.pop(field.name), field.type)
            except msgspec.ValidationError as error:
                wrong.append(f"{field.name}: {_expected(field.type, error)}")
        elif field.required:
            wrong.append(f"{field.name}: missing")
    wrong += [f"{name}: unknown" for name in table]
    problems += [f"{label}: {line}" for line in wrong]
    return None if wrong else UpstreamSpec(**values)


def _take_key(table: dict[str, Any], read_secret: Callable[[str], str]) -> list[str]:
    file = table.pop("api_key_file")
    if "api_key" in table:
        return ["api_key: set either api_key or api_key_file, not both"]
    try:
        table["api_key"] = read_secret(file)
    except OSError as failure:
        return [f"api_key_file: cannot read {file}: {failure.strerror}"]
    except (TypeError, UnicodeDecodeError):
        return ["api_key_file: expected the name of a text file"]
    if not table["api_key"]:
        del table["api_key"]
        return [f"api_key_file: {file} is empty"]
    return []


def _expected(kind: Any, error: msgspec.ValidationError) -> str:
    """Say what was expected, never what was there: it may be a secret."""
    if kind is Role:
        return f"expected {', '.join(get_args(Role))}"
    text = str(error).partition(", got ")[0].replace("Expected", "expected")
    return text.replace("`", "").replace(" | null", "")


def _unsound(upstreams: Sequence[UpstreamSpec]) -> Iterator[str]:
    """Name what is well-formed and still cannot work."""
    before: set[str] = set()
    for one in upstreams:
        if not re.fullmatch(NAME, one.name):
            yield f"{one.name!r}: name: {EXPECTED_NAME}"
        if one.name in before:
            yield f"{one.name}: name: two upstreams have it"
        if not is_http(one.url):
            yield f"{one.name}: url: expected http://host:port/v1"
        for main in one.fallback_for:
            if main not in before:
                yield f"{one.name}: fallback_for: no upstream before it is named {main!r}"
        if one.fallback_for and one.fallback_model is None:
            yield f"{one.name}: fallback_model: missing; it says which model answers for the others'"
        if one.fallback_model is not None and not one.fallback_for:
            yield f"{one.name}: fallback_for: missing; without it fallback_model means nothing"
        before.add(one.name)
    if not any(one.plays("chat") and not one.fallback_for for one in upstreams):
        yield "upstream: none of them takes chats"


def is_http(url: str) -> bool:
    """Tell whether a URL can be that of a model server."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
