"""The pytest plugin: the session's checker, its summary, and the demand that nothing in scope stay unseen.

Load it from tests/conftest.py: pytest_plugins = ["tests.conformance.plugin"]. No answer is checked here.
"""

import os
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from . import raw
from .checker import Checker
from .scope import unseen
from .spec import SPEC_PATH, load_spec
from .unchecked import Unchecked

FOLDERS = ("integration", "e2e")
INI = "conformance_spec"
TOLD = "conformance"
# Tests with this marker need what most machines lack; leaving them out leaves a run full.
OPTIONAL_MARKER = "vllm"


@dataclass
class Session:
    """What one pytest session knows of conformance."""

    spec_path: Path
    checker: Checker | None = None
    modules: set[Path] = field(default_factory=set)
    selected: bool = False
    full: bool = False
    told: int = 0
    faults: list[str] = field(default_factory=list)
    elsewhere: Counter[str] = field(default_factory=Counter)
    """What other processes of a divided run have checked."""
    seen_elsewhere: set[str] = field(default_factory=set)

    @property
    def seen(self) -> set[str]:
        """Name the operations that were seen, in this process or another."""
        return self.seen_elsewhere | (self.checker.seen if self.checker else set())

    def counted(self) -> Counter[str]:
        """Count the answers and events that were checked."""
        here = Counter(answers=self.checker.answers, events=self.checker.events) if self.checker else Counter()
        return here + self.elsewhere

    @property
    def absent(self) -> bool:
        """Say whether there is nothing to check against."""
        return not self.spec_path.is_file()

    def news(self) -> str:
        """Give the violations that no test was told of yet."""
        violations = self.checker.violations if self.checker else []
        fresh, self.told = violations[self.told :], len(violations)
        return "\n".join(f"conformance: {violation}" for violation in fresh)


SESSION = pytest.StashKey[Session]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the plugin's own tests name another document."""
    parser.addini(INI, "the official document", default=str(SPEC_PATH))


def pytest_configure(config: pytest.Config) -> None:
    """Begin with nothing seen."""
    config.stash[SESSION] = Session(Path(config.getini(INI)))


@pytest.fixture(scope="session")
def conformance(pytestconfig: pytest.Config) -> Checker:
    """Give the session's checker; where the document is absent one that checks nothing, in CI a failure."""
    session = pytestconfig.stash[SESSION]
    if session.absent and _in_ci():
        pytest.fail(f"conformance cannot be checked: {session.spec_path} is absent", pytrace=False)
    session.checker = Unchecked() if session.absent else Checker(load_spec(session.spec_path))
    return session.checker


@pytest.fixture(scope="session")
def checked(conformance: Checker) -> Callable[[Any], Any]:
    """Give `checked(response)`: check a raw response and give it back."""
    return partial(raw.checked, conformance)


@pytest.fixture(scope="session")
def watched(conformance: Checker) -> Callable[[Any], Any]:
    """Give `watched(client)`: have every response of a raw client checked, and give the client back."""
    return partial(raw.watched, conformance)


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Note which test files are collected. A module is also made for each sibling of a file that was named."""
    if isinstance(collector, pytest.Module):
        collector.config.stash[SESSION].modules.add(collector.path)


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Note a selection among the tests that must see every operation."""
    for item in items:
        roots = [item.config.rootpath / "tests" / folder for folder in FOLDERS]
        ours = any(item.path.is_relative_to(root) for root in roots)
        if ours and not item.get_closest_marker(OPTIONAL_MARKER):
            item.config.stash[SESSION].selected = True


def pytest_collection_finish(session: pytest.Session) -> None:
    """Decide whether this run is full, so that an unseen operation is a fault."""
    config, ours = session.config, session.config.stash[SESSION]
    named = any("::" in arg for arg in config.args)
    files = {
        file
        for folder in FOLDERS
        for pattern in config.getini("python_files")
        for file in (config.rootpath / "tests" / folder).rglob(pattern)
        if not _passed_over(file.relative_to(config.rootpath), config)
    }
    whole = bool(files) and files <= ours.modules
    # --lf passes over files without deselecting anything in them.
    some = named or ours.selected or getattr(config.option, "lf", False)
    ours.full = whole and not (some or config.option.collectonly)


def _passed_over(file: Path, config: pytest.Config) -> bool:
    """Say whether a file is of a suite that is collected only where it is named."""
    return any(folder.match(pattern) for folder in file.parents for pattern in config.getini("norecursedirs"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, Any, Any]:
    """Fail a set-up that received what conforms to nothing."""
    return (yield from _telling(item, "setup"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Fail a test that received what conforms to nothing."""
    return (yield from _telling(item, "call"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, Any, Any]:
    """Fail a teardown that received what conforms to nothing."""
    return (yield from _telling(item, "teardown"))


def _telling(item: pytest.Item, phase: str) -> Generator[None, Any, Any]:
    session = item.config.stash[SESSION]
    try:
        result = yield
    except BaseException:
        # It fails already; what was found is likely why.
        news = session.news()
        if news:
            item.add_report_section(phase, "conformance", news)
        raise
    news = session.news()
    if news:
        pytest.fail(news, pytrace=False)
    return result


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what one of the processes of a divided run has seen."""
    told = getattr(node, "workeroutput", {}).get(TOLD)
    if told is None:
        return  # it crashed, and the run fails for that
    ours = node.config.stash[SESSION]
    ours.full = told["full"]
    ours.faults += told["faults"]
    ours.seen_elsewhere.update(told["seen"])
    ours.elsewhere.update(told["counted"])


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail a full run that left an operation in scope unseen; a part of a run tells what it saw to the whole."""
    ours = session.config.stash[SESSION]
    late = ours.news()
    if late:
        ours.faults.append(late)
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        counted, seen = dict(ours.counted()), sorted(ours.seen)
        output[TOLD] = {"full": ours.full, "faults": ours.faults, "seen": seen, "counted": counted}
        return
    if ours.full and ours.absent and _in_ci():
        ours.faults.append(f"conformance cannot be checked: {ours.spec_path} is absent")
    if ours.full and not ours.absent and unseen(ours.seen):
        ours.faults.append("conformance: a full run must see every operation in scope")
    if ours.faults and exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was checked and what was never seen."""
    session = config.stash[SESSION]
    counted = session.counted()
    if not counted and session.checker is None and not session.full:
        return
    if session.absent:
        outcome = f"unchecked (skipped: {session.spec_path} is absent)"
    else:
        missing = ", ".join(unseen(session.seen)) or "none"
        outcome = f"checked; operations in scope not seen: {missing}"
    checked = f"{counted['answers']} answers, {counted['events']} events {outcome}"
    terminalreporter.write_line(f"conformance: {checked}")
    for fault in session.faults:
        terminalreporter.write_line(fault, red=True)


def _in_ci() -> bool:
    return os.environ.get("CI", "").lower() == "true"
