"""Log lines: JSON for machines, text for people. Never a prompt, an answer or a key."""

import json
import logging
import sys
import time
from typing import Any, Literal

# uvicorn says its lines a second time, coloured, in `color_message`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, then what the call added."""

    def format(self, record: logging.LogRecord) -> str:
        """Render one record."""
        line = {
            "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extras(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class TextLines(logging.Formatter):
    """A line that reads well in a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Render one record."""
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        extras = " ".join(f"{name}={value}" for name, value in _extras(record).items())
        line = f"{clock} {record.levelname:<7} {record.name}: {record.getMessage()} {extras}".rstrip()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def configure_logs(level: str, form: Literal["json", "text"]) -> None:
    """Send every logger's lines to standard output in one form."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("aiosqlite", "alembic", "asyncio"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
