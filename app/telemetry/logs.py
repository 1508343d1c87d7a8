"""Log lines: JSON for machines, text for people. Never a prompt, an answer or a key."""

import json
import logging
import sys
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from traceback import format_tb
from typing import Any, Literal

from app.telemetry import tracing

# uvicorn says its lines a second time, coloured, in `color_message`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


_NOTHING: Mapping[str, str] = {}
_about: ContextVar[Mapping[str, str]] = ContextVar("about", default=_NOTHING)


def now_about(**ids: str) -> None:
    """Say what is being worked on in this task: its ids are in every line from now on."""
    _about.set({**_about.get(), **ids})


def about() -> Mapping[str, str]:
    """Return what is being worked on."""
    return _about.get()


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    said = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    trace_id = tracing.trace_id()
    return {**_about.get(), **said} if trace_id is None else {**_about.get(), "trace_id": trace_id, **said}


def _message(record: logging.LogRecord) -> str:
    """Return what is said; of asyncio its first line alone, since the others show tasks with the words of errors."""
    message = record.getMessage()
    return message.partition("\n")[0] if record.name == "asyncio" else message


def _fault(error: BaseException | None) -> str:
    """Tell where an error was raised and what led to it, the first one first, by their kinds alone.

    Their words quote what was being read when they were raised: a message, a tool's output, a key.
    """
    told = [
        f"Traceback (most recent call last):\n{''.join(format_tb(one.__traceback__))}{_kind(one)}"
        for one in _led_to(error)
    ]
    return "\n\nwhich led to\n\n".join(reversed(told))


def _led_to(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()  # a chain of errors can be a ring
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _kind(error: BaseException) -> str:
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return name + "".join(f"\n\nwhich holds\n\n{_fault(one)}" for one in inner)


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, then what the call added."""

    def format(self, record: logging.LogRecord) -> str:
        """Render one record."""
        line = {
            "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
            **_extras(record),
        }
        if record.exc_info:
            line["exception"] = _fault(record.exc_info[1])
        return json.dumps(line, default=str, ensure_ascii=False)


class TextLines(logging.Formatter):
    """A line that reads well in a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Render one record."""
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        extras = " ".join(f"{name}={value}" for name, value in _extras(record).items())
        line = f"{clock} {record.levelname:<7} {record.name}: {_message(record)} {extras}".rstrip()
        return f"{line}\n{_fault(record.exc_info[1])}" if record.exc_info else line


def configure_logs(level: str, form: Literal["json", "text"]) -> None:
    """Send every logger's lines to standard output in one form."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("aiosqlite", "alembic", "asyncio"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
