"""Every setting, read once from the environment. Nobody else reads it.

A field's metadata names its variable and says what it means; `.env.example` and docs/settings.md are held to
this list by a test. Every secret can also be given as a file, `NAME_FILE`.
"""

import re
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from app.kit.addresses import networks_of
from app.upstreams import ModelsFile, ModelsFileError, Seconds, UpstreamSpec, is_http, read_models_file

Bound = Annotated[int, Meta(ge=1, le=10**12)]
Port = Annotated[int, Meta(ge=1, le=65_535)]


class Var(Struct, frozen=True):
    """Where a setting comes from and what it is for."""

    name: str
    help: str
    secret: bool = False


class Settings(Struct, kw_only=True, frozen=True):
    """What the operator decided."""

    environment: Annotated[
        Literal["development", "production"],
        Var("ENVIRONMENT", "`production` makes unsafe settings fatal"),
    ] = "development"
    api_key: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Var("API_KEY", "bootstrap admin key; Bearer or X-API-Key", secret=True),
    ] = None
    key_pepper: Annotated[
        Annotated[str, Meta(min_length=32)] | None,
        Var(
            "KEY_PEPPER", "secret under which keys are hashed; by default a file beside a SQLite database", secret=True
        ),
    ] = None
    key_journal_file: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Var("KEY_JOURNAL_FILE", "file of revocations; by default beside a SQLite database, none for PostgreSQL"),
    ] = None
    database_url: Annotated[
        str, Var("DATABASE_URL", "`sqlite:///path` or `postgresql://user:password@host/name`", secret=True)
    ] = "sqlite:///data/sovereign_assistant.db"
    api_host: Annotated[str, Var("API_HOST", "address to listen on")] = "127.0.0.1"
    api_port: Annotated[Port, Var("API_PORT", "port to listen on")] = 8001
    cors_origins: Annotated[
        tuple[str, ...], Var("CORS_ORIGINS", "origins of web pages that may call the API; none by default")
    ] = ()
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"], Var("LOG_LEVEL", "least severe level that is logged")
    ] = "INFO"
    log_format: Annotated[Literal["json", "text"], Var("LOG_FORMAT", "`json` for machines, `text` for people")] = "json"
    metrics_host: Annotated[str, Var("METRICS_HOST", "address on which metrics are told without a key")] = "127.0.0.1"
    metrics_port: Annotated[Port | None, Var("METRICS_PORT", "port for Prometheus, without a key; none by default")] = (
        None
    )
    vram_share: Annotated[
        Annotated[float, Meta(gt=0, le=1)],
        Var("VRAM_SHARE", "share of the card that vLLM was given, told to alerts and dashboards"),
    ] = 0.95
    otel_exporter_otlp_endpoint: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Var("OTEL_EXPORTER_OTLP_ENDPOINT", "collector of traces, such as http://tracing:4318; none by default"),
    ] = None
    body_limit_bytes: Annotated[
        Annotated[int, Meta(ge=1024)], Var("BODY_LIMIT_BYTES", "largest request body; above it 413")
    ] = 10 * 1024 * 1024
    json_depth_limit: Annotated[
        Annotated[int, Meta(ge=16, le=512)],
        Var("JSON_DEPTH_LIMIT", "arrays and objects in one another in a request body; above it 400"),
    ] = 64
    head_limit_bytes: Annotated[
        Annotated[int, Meta(ge=4096)], Var("HEAD_LIMIT_BYTES", "largest address and headers; above it 431")
    ] = 32 * 1024
    client_timeout_s: Annotated[
        Seconds,
        Var("CLIENT_TIMEOUT_S", "seconds to send a request or take an answer, or 16 KiB for each of them"),
    ] = 30.0
    keep_alive_s: Annotated[Seconds, Var("KEEP_ALIVE_S", "seconds for which an idle connection is kept")] = 75.0
    connection_limit: Annotated[
        Annotated[int, Meta(ge=1, le=100_000)], Var("CONNECTION_LIMIT", "connections at once; above it 503")
    ] = 900
    trusted_proxies: Annotated[
        tuple[str, ...],
        Var("TRUSTED_PROXIES", "addresses or networks whose X-Forwarded-For is believed; none by default"),
    ] = ()
    model_url: Annotated[str, Var("MODEL_URL", "OpenAI-wire model server: vLLM; also Ollama, llama.cpp")] = (
        "http://127.0.0.1:8000/v1"
    )
    model_api_key: Annotated[str | None, Var("MODEL_API_KEY", "key sent to the model server", secret=True)] = None
    model_name: Annotated[
        str | None, Var("MODEL_NAME", "model to ask for; by default the first that the server names")
    ] = None
    model_aliases: Annotated[
        dict[str, str],
        Var("MODEL_ALIASES", "names that clients already use: `gpt-4=llama-3.1-70b-instruct,gpt-4o=…`"),
    ] = msgspec.field(default_factory=dict)
    models_file: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Var("MODELS_FILE", "TOML file of several model servers, instead of MODEL_URL and MODEL_API_KEY"),
    ] = None
    model_connect_timeout_s: Annotated[Seconds, Var("MODEL_CONNECT_TIMEOUT_S", "seconds to reach the model server")] = (
        5.0
    )
    model_first_token_timeout_s: Annotated[
        Seconds,
        Var("MODEL_FIRST_TOKEN_TIMEOUT_S", "seconds until its first token; a long cold prompt takes a minute"),
    ] = 300.0
    model_idle_timeout_s: Annotated[
        Seconds, Var("MODEL_IDLE_TIMEOUT_S", "seconds between two tokens before the model counts as stalled")
    ] = 60.0
    run_concurrency: Annotated[
        Annotated[int, Meta(ge=1, le=4096)],
        Var("RUN_CONCURRENCY", "turns at once; about vLLM's --max-num-seqs"),
    ] = 8
    run_queue_limit: Annotated[
        Annotated[int, Meta(ge=0, le=100_000)], Var("RUN_QUEUE_LIMIT", "turns waiting before 429")
    ] = 64
    run_expires_after_s: Annotated[
        Annotated[int, Meta(ge=1, le=86_400)],
        Var("RUN_EXPIRES_AFTER_S", "seconds after which an unfinished run expires"),
    ] = 600
    run_flush_ms: Annotated[
        Annotated[int, Meta(ge=1, le=60_000)],
        Var("RUN_FLUSH_MS", "milliseconds of streamed text in one journal entry"),
    ] = 250
    run_events_kept_s: Annotated[
        Annotated[int, Meta(ge=1)],
        Var("RUN_EVENTS_KEPT_S", "seconds for which an ended run's events can be replayed"),
    ] = 3600
    stream_ping_s: Annotated[
        Seconds,
        Var("STREAM_PING_S", "seconds of silence after which a stream sends a comment to keep proxies awake"),
    ] = 15.0
    context_window: Annotated[
        Annotated[int, Meta(ge=256)] | None,
        Var("CONTEXT_WINDOW", "tokens; by default what the model server states"),
    ] = None
    context_messages: Annotated[
        Annotated[int, Meta(ge=1, le=10_000)], Var("CONTEXT_MESSAGES", "newest messages offered to the model")
    ] = 100
    shutdown_grace_s: Annotated[
        Seconds, Var("SHUTDOWN_GRACE_S", "seconds that running turns get to end when the server is stopped")
    ] = 25.0
    read_only: Annotated[
        bool, Var("READ_ONLY", "show what is there and change nothing: for looking into a restored copy; SQLite only")
    ] = False
    rate_limit_requests_per_min: Annotated[
        Bound | None, Var("RATE_LIMIT_REQUESTS_PER_MIN", "requests a minute of a key that has no limits of its own")
    ] = None
    rate_limit_tokens_per_min: Annotated[
        Bound | None, Var("RATE_LIMIT_TOKENS_PER_MIN", "tokens a minute of such a key, prompts and answers")
    ] = None
    rate_limit_concurrent_runs: Annotated[
        Bound | None, Var("RATE_LIMIT_CONCURRENT_RUNS", "runs at once of such a key, those in the queue too")
    ] = None
    rate_limit_concurrent_streams: Annotated[
        Bound | None, Var("RATE_LIMIT_CONCURRENT_STREAMS", "streams at once of such a key")
    ] = None
    rate_limit_tokens_per_day: Annotated[
        Bound | None, Var("RATE_LIMIT_TOKENS_PER_DAY", "tokens of such a key in a day, in UTC")
    ] = None
    rate_limit_tokens_per_month: Annotated[
        Bound | None, Var("RATE_LIMIT_TOKENS_PER_MONTH", "tokens of such a key in a calendar month, in UTC")
    ] = None


class SettingsError(Exception):
    """One or more settings are wrong; `problems` has a line for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Variable(Struct, frozen=True):
    """A field of Settings with the variable it comes from."""

    field: str
    var: Var
    type: Any
    default: Any


def variables(of: type[Struct] = Settings) -> list[Variable]:
    """List every setting, in the order of the class."""
    hints = get_type_hints(of, include_extras=True)
    defaults = of()
    out = []
    for field in of.__struct_fields__:
        declared, *extras = get_args(hints[field])
        var = next(extra for extra in extras if isinstance(extra, Var))
        rest = tuple(extra for extra in extras if not isinstance(extra, Var))
        kind = Annotated[(declared, *rest)] if rest else declared
        out.append(Variable(field, var, kind, getattr(defaults, field)))
    return out


def load_settings(env: Mapping[str, str]) -> Settings:
    """Read every setting from `env`. Raises SettingsError with all problems at once."""
    values, problems = read_variables(Settings, env)
    settings = Settings(**values)
    problems += _unsound(settings, wrong={line.split(":", 1)[0] for line in problems})
    if problems:
        raise SettingsError(problems)
    return settings


def read_variables(of: type[Struct], env: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Read the fields of a class of settings; return those that are set, and a line for each that is wrong."""
    problems: list[str] = []
    values: dict[str, Any] = {}
    for variable in variables(of):
        try:
            text = _text_of(variable.var, env)
            if text is not None:
                values[variable.field] = _parsed(variable.type, text)
        except (ValueError, OSError) as problem:
            shown = str(problem).partition(", got ")[0] if variable.var.secret else problem
            problems.append(f"{variable.var.name}: {shown}")
    return values, problems


def _text_of(var: Var, env: Mapping[str, str]) -> str | None:
    text = env.get(var.name) or None
    file = env.get(f"{var.name}_FILE") or None if var.secret else None
    if file is None:
        return text
    if text is not None:
        raise ValueError(f"set either {var.name} or {var.name}_FILE, not both")
    try:
        secret = Path(file).read_text(encoding="utf-8").strip()
    except OSError as failure:
        raise OSError(f"cannot read {var.name}_FILE {file}: {failure.strerror}") from None
    if not secret:
        raise ValueError(f"{var.name}_FILE {file} is empty")
    return secret


def _parsed(kind: Any, text: str) -> Any:
    """Convert an environment variable's text. Raises ValueError with what was expected."""
    origin = get_origin(kind)
    if origin is tuple:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if origin is dict:
        return dict(_pair(part) for part in text.split(",") if part.strip())
    if origin is Literal:
        if text not in get_args(kind):
            raise ValueError(f"expected {' or '.join(get_args(kind))}, got {text!r}")
        return text
    if origin in (Union, types.UnionType):
        kind = next(arm for arm in get_args(kind) if arm is not type(None))
    try:
        return msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError as error:
        expected = str(error).partition(", got ")[0].replace("Expected", "expected").replace("`", "")
        raise ValueError(f"{expected}, got {text!r}") from None


def _pair(part: str) -> tuple[str, str]:
    name, equals, value = (piece.strip() for piece in part.partition("="))
    if not (name and equals and value):
        raise ValueError(f"expected name=model pairs separated by commas, got {part!r}")
    return name, value


def _unsound(settings: Settings, wrong: set[str]) -> list[str]:
    """Name what is well-formed and still cannot work, but nothing that is already known to be wrong."""
    problems = []
    if not is_http(settings.model_url):
        problems.append(f"MODEL_URL: expected http://host:port/v1, got {without_password(settings.model_url)!r}")
    if settings.otel_exporter_otlp_endpoint is not None and not is_http(settings.otel_exporter_otlp_endpoint):
        problems.append("OTEL_EXPORTER_OTLP_ENDPOINT: expected http://host:port")
    problems += _unsound_models(settings)
    try:
        engine = make_url(settings.database_url)
        if engine.get_backend_name() not in ("sqlite", "postgresql"):
            problems.append("DATABASE_URL: expected sqlite:///path or postgresql://…")
        elif engine.get_backend_name() == "sqlite" and engine.database in (None, "", ":memory:"):
            problems.append("DATABASE_URL: name a file: sqlite:///data/sovereign_assistant.db")
    except (ArgumentError, ValueError):
        problems.append("DATABASE_URL: expected sqlite:///path or postgresql://…")
    try:
        networks_of(settings.trusted_proxies)
    except ValueError as problem:
        problems.append(f"TRUSTED_PROXIES: expected addresses or networks such as 10.0.0.0/8: {problem}")
    if settings.read_only and settings.database_url.startswith("postgres"):
        problems.append("READ_ONLY: only for SQLite; give PostgreSQL a user that may only read")
    if settings.environment == "production":
        if settings.api_key is None and "API_KEY" not in wrong:
            problems.append("API_KEY: required when ENVIRONMENT=production (or API_KEY_FILE)")
        if "*" in settings.cors_origins:
            problems.append("CORS_ORIGINS: '*' is not allowed when ENVIRONMENT=production; name the origins")
    return problems


def _unsound_models(settings: Settings) -> list[str]:
    """Name what is wrong with the file of model servers, and what would mean nothing beside it."""
    if settings.models_file is None:
        return []
    problems = []
    if (settings.model_url, settings.model_api_key) != (Settings().model_url, None):
        problems.append("MODELS_FILE: MODEL_URL and MODEL_API_KEY mean nothing beside it; take them away")
    try:
        models_of(settings)
    except ModelsFileError as failure:
        problems += [f"MODELS_FILE: {problem}" for problem in failure.problems]
    return problems


def models_of(settings: Settings) -> ModelsFile:
    """Return the model servers and aliases: those of MODELS_FILE, or else the one of MODEL_URL.

    MODEL_ALIASES goes before the file's. Raises ModelsFileError when the file is no longer as it was at the start.
    """
    if settings.models_file is None:
        only = UpstreamSpec(name="main", url=settings.model_url, api_key=settings.model_api_key)
        return ModelsFile((only,), settings.model_aliases)
    described = read_models_file(settings.models_file)
    return ModelsFile(described.upstreams, described.aliases | settings.model_aliases)


def without_password(url: str) -> str:
    """Return a URL without the user and password that it may hold before its host."""
    return re.sub(r"//[^/@]*@", "//***@", url)


def redacted(settings: Settings) -> dict[str, Any]:
    """Return every setting by its variable's name, secrets hidden."""
    shown = {}
    for variable in variables():
        value = getattr(settings, variable.field)
        if variable.field == "database_url":
            value = _database_without_password(value)
        elif variable.field == "model_url":
            value = without_password(value)
        elif variable.var.secret and value is not None:
            value = "***"
        shown[variable.var.name] = list(value) if isinstance(value, tuple) else value
    return shown


def _database_without_password(text: str) -> str:
    url = make_url(text)
    query = {name: "hidden" if "password" in name else value for name, value in url.query.items()}
    return url.set(query=query).render_as_string(hide_password=True)
