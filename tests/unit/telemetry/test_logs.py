"""Log lines: JSON that a machine reads, text that a person reads, and nothing private in either."""

import json
import logging
import sys
from collections.abc import Iterator

import msgspec
import pytest

from app.telemetry.logs import JsonLines, TextLines, configure_logs

SECRET = "the words of a prompt"


def record(message: str, *arguments: object, level: int = logging.INFO, **extra: object) -> logging.LogRecord:
    made = logging.getLogger("app.part").makeRecord(
        "app.part", level, __file__, 1, message, arguments, None, extra=extra or None
    )
    made.created, made.msecs = 1_700_000_000.25, 250.0
    return made


def failed(message: str, *raised: BaseException, cause: BaseException | None = None) -> logging.LogRecord:
    made = record(message, level=logging.ERROR)
    try:
        raise (raised or (ValueError(SECRET),))[0] from cause
    except BaseException:
        made.exc_info = sys.exc_info()
    return made


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    """Give the root logger, and put it back as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    quiet = {name: logging.getLogger(name).level for name in ("aiosqlite", "alembic", "asyncio")}
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in quiet.items():
        logging.getLogger(name).setLevel(before)


def test_a_line_is_one_json_object_with_time_level_logger_and_message() -> None:
    line = JsonLines().format(record("took %d of %s", 3, "them"))
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "info",
        "logger": "app.part",
        "message": "took 3 of them",
    }


def test_what_the_call_added_stands_beside_the_message() -> None:
    line = json.loads(JsonLines().format(record("run ended", run_id="run_1", tokens=7, none=None)))
    assert (line["run_id"], line["tokens"], line["none"]) == ("run_1", 7, None)


def test_a_line_stays_one_line_whatever_the_message_holds() -> None:
    line = JsonLines().format(record("first\nsecond\r\u2028 – ä", note="a\nb"))
    assert "\n" not in line
    assert json.loads(line)["message"] == "first\nsecond\r\u2028 – ä"


def test_what_json_does_not_know_is_written_as_text_and_never_fails_the_call() -> None:
    line = json.loads(JsonLines().format(record("odd", kind=ValueError, whole={"a": {1}})))
    assert line["kind"] == "<class 'ValueError'>"
    assert line["whole"] == {"a": "{1}"}


def test_an_exception_is_told_with_its_traceback_in_the_same_line() -> None:
    line = JsonLines().format(failed("it broke"))
    told = json.loads(line)["exception"]
    assert "\n" not in line
    assert told.startswith("Traceback")
    assert f'File "{__file__}"' in told
    assert told.endswith("ValueError")


@pytest.mark.parametrize("lines", [JsonLines(), TextLines()])
def test_an_error_is_told_by_its_kind_and_what_led_to_it_but_not_in_its_own_words(lines: logging.Formatter) -> None:
    group = ExceptionGroup(SECRET, [KeyError(SECRET), msgspec.ValidationError(SECRET)])
    group.add_note(SECRET)
    told = lines.format(failed("it broke", group, cause=OSError(5, SECRET)))
    assert SECRET not in told
    kinds = ("OSError", "which led to", "ExceptionGroup", "KeyError", "msgspec.ValidationError")
    assert all(kind in told for kind in kinds)
    assert told.index("OSError") < told.index("KeyError")


def test_errors_that_led_to_one_another_are_told_once() -> None:
    first, second = ValueError(), KeyError()
    first.__context__, second.__context__ = second, first
    assert JsonLines().format(failed("it broke", first)).count("Traceback") <= 2


def test_asyncio_says_that_a_task_failed_and_not_in_whose_words() -> None:
    said = record("Task exception was never retrieved\nfuture: <Task exception=ValueError('a prompt')>")
    said.name = "asyncio"
    assert json.loads(JsonLines().format(said))["message"] == "Task exception was never retrieved"
    assert TextLines().format(said).endswith("asyncio: Task exception was never retrieved")


def test_the_coloured_copy_of_a_message_is_left_out() -> None:
    assert "color_message" not in JsonLines().format(record("listening", color_message="\x1b[36mlistening"))


def test_text_is_for_people() -> None:
    line = TextLines().format(record("run ended", run_id="run_1"))
    assert line.endswith("INFO    app.part: run ended run_id=run_1")
    assert TextLines().format(failed("it broke")).splitlines()[-1] == "ValueError"


@pytest.mark.parametrize(("form", "begins"), [("json", "{"), ("text", "")])
def test_every_logger_writes_to_standard_output_in_one_form_from_the_level_on(
    form: str, begins: str, root_logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logs("WARNING", "json" if form == "json" else "text")
    configure_logs("WARNING", "json" if form == "json" else "text")
    logging.getLogger("app.anything").warning("told once")
    logging.getLogger("uvicorn.error").info("not told")
    out, err = capsys.readouterr()
    assert out.count("told once") == 1
    assert out.startswith(begins)
    assert "not told" not in out
    assert err == ""
    assert len(root_logger.handlers) == 1


def test_libraries_that_log_statements_stay_quiet_even_when_all_else_is_told(
    root_logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logs("DEBUG", "json")
    for library in ("aiosqlite", "alembic", "asyncio"):
        logging.getLogger(library).info("INSERT INTO messages VALUES ('a private sentence')")
    logging.getLogger("app.anything").debug("told")
    out = capsys.readouterr().out
    assert "told" in out
    assert "private" not in out
    assert root_logger.level == logging.DEBUG
