"""The plugin fails a test, a fixture or a whole run for what was received, and says what it did."""

from pathlib import Path

import pytest

from tests.conformance import plugin, transport
from tests.conformance.spec import REPOSITORY, SPEC_PATH

pytest_plugins = ["pytester"]

# Imported here: a session within the session forgets what it had to import itself, each time anew.
KEPT = transport

RECEIVE = """
import pytest
from tests.conformance import samples
from tests.conformance.scope import PROMISED
from tests.conformance.transport import checked_http_client
import httpx2

def receive(checker, value):
    answer = httpx2.Response(200, json=value, headers=samples.HEADERS)
    with checked_http_client(checker, httpx2.MockTransport(lambda _: answer)) as client:
        client.get(f"http://server.test/v1/threads/{samples.THREAD_ID}")
"""
GOOD = RECEIVE + "def test_good(conformance):\n    receive(conformance, samples.thread())\n"
BAD = RECEIVE + "def test_bad(conformance):\n    receive(conformance, {})\n"
ALL = RECEIVE + "def test_all(conformance): conformance.seen.update(PROMISED)\n"
VIOLATION = "*GET /threads/{thread_id} 200: $: 'id' is a required property*"


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A repository of its own with the plugin loaded."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeini(f"[pytest]\nconformance_spec = {SPEC_PATH}\nmarkers = vllm\nfilterwarnings = error\n")
    pytester.syspathinsert(REPOSITORY)
    return pytester


def absent(project: pytest.Pytester) -> None:
    project.makeini("[pytest]\nconformance_spec = /nowhere/openai_spec.json\n")


def write(project: pytest.Pytester, **files: str) -> None:
    for name, text in files.items():
        folder, _, module = name.partition("__")
        path = Path(project.path, "tests", folder, f"test_{module}.py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def run(project: pytest.Pytester, *args: str) -> pytest.RunResult:
    return project.runpytest_inprocess("-p", "no:cacheprovider", *args, plugins=[plugin])


needs_the_document = pytest.mark.usefixtures("document")


@needs_the_document
def test_a_part_of_the_tests_passes_and_names_what_was_not_seen(project: pytest.Pytester) -> None:
    write(project, integration__a=GOOD, e2e__b=GOOD)
    for args in (
        ["tests/integration"],
        ["-k", "a.py"],
        ["tests/e2e", "tests/integration/test_a.py::test_good"],
    ):
        result = run(project, *args)
        result.assert_outcomes(passed=2 if "::" in args[-1] else 1, deselected="-k" in args)
        assert result.ret == pytest.ExitCode.OK
        result.stdout.fnmatch_lines(
            ["conformance: [12] answers, 0 events checked; operations in scope not seen: GET /assistants, *"]
        )


@needs_the_document
def test_a_file_that_was_named_is_no_full_run_though_it_lies_beside_all_others(project: pytest.Pytester) -> None:
    write(project, integration__a=GOOD, integration__b=GOOD)
    result = run(project, "tests/integration/test_a.py")
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.no_fnmatch_line("*a full run must see every operation*")


@needs_the_document
def test_a_run_of_what_failed_last_is_no_full_run(project: pytest.Pytester) -> None:
    write(project, integration__a=GOOD + "def test_flaky(): assert False\n", e2e__b=GOOD)
    project.runpytest_inprocess(plugins=[plugin]).assert_outcomes(passed=2, failed=1)
    write(project, integration__a=GOOD + "def test_flaky(): pass\n")
    result = project.runpytest_inprocess("--lf", plugins=[plugin])
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.OK


@needs_the_document
def test_a_full_run_that_leaves_something_unseen_fails(project: pytest.Pytester) -> None:
    write(project, integration__a=GOOD, e2e__b=GOOD, unit__c="def test_unit(): pass\n")
    for args in ([], ["tests/integration", "tests/e2e"]):
        result = run(project, *args)
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        result.stdout.fnmatch_lines(["*not seen: GET /assistants, *", "*a full run must see every operation*"])
        result.stdout.no_fnmatch_line("*not seen:*GET /threads/{thread_id}, *")


@needs_the_document
def test_a_full_run_that_sees_everything_passes(project: pytest.Pytester) -> None:
    optional = "import pytest\n@pytest.mark.vllm\ndef test_vllm(): assert False\n"
    write(project, integration__a=ALL, e2e__b=optional, unit__c="def test_unit(): pass\n")
    result = run(project, "-m", "not vllm", "-W", "ignore::pytest.PytestUnknownMarkWarning")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*operations in scope not seen: none"])


@needs_the_document
@pytest.mark.parametrize("apart", ["", "norecursedirs = .* tests/e2e/apart\n"])
def test_a_suite_that_a_plain_run_passes_over_is_not_missed(project: pytest.Pytester, apart: str) -> None:
    project.makeini(f"[pytest]\nconformance_spec = {SPEC_PATH}\nmarkers = vllm\nfilterwarnings = error\n{apart}")
    write(project, integration__a=GOOD, **{"e2e/apart__b": "def test_apart(): pass\n"})
    everything = run(project, "tests")
    everything.assert_outcomes(passed=1 if apart else 2)
    assert everything.ret == pytest.ExitCode.TESTS_FAILED
    everything.stdout.fnmatch_lines(["*a full run must see every operation*"])
    named = run(project, "tests/e2e/apart")
    named.assert_outcomes(passed=1)
    assert named.ret == pytest.ExitCode.OK
    without = run(project, "tests/integration")
    assert without.ret == (pytest.ExitCode.TESTS_FAILED if apart else pytest.ExitCode.OK)


@needs_the_document
def test_a_run_of_unit_tests_alone_says_nothing(project: pytest.Pytester) -> None:
    write(project, integration__a=GOOD, unit__c="def test_unit(): pass\n")
    result = run(project, "tests/unit")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.no_fnmatch_line("*conformance:*")


@needs_the_document
def test_what_a_client_received_fails_its_test(project: pytest.Pytester) -> None:
    write(project, integration__a=BAD, integration__b=GOOD, e2e__c=GOOD)
    result = run(project, "tests/integration")
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines([VIOLATION])


@needs_the_document
def test_what_a_fixture_received_fails_where_it_received_it(project: pytest.Pytester) -> None:
    fixture = "@pytest.fixture\ndef bad(conformance):\n%s    receive(conformance, {})\ndef test_x(bad): pass\n"
    before, after = fixture % "", fixture % "    yield\n"
    write(project, integration__a=RECEIVE + before, integration__b=RECEIVE + after, e2e__c=GOOD)
    result = run(project, "tests/integration")
    result.assert_outcomes(errors=2, passed=1)
    result.stdout.fnmatch_lines([VIOLATION])


@needs_the_document
def test_a_test_that_fails_anyway_tells_what_it_received(project: pytest.Pytester) -> None:
    write(project, integration__a=BAD + "    assert False, 'my own reason'\n", e2e__c=GOOD)
    result = run(project, "tests/integration")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*my own reason*", VIOLATION])


@needs_the_document
def test_raw_responses_are_checked_through_fixtures(project: pytest.Pytester) -> None:
    text = """
import httpx
def test_raw(checked, watched):
    server = httpx.MockTransport(lambda _: httpx.Response(200, json={}))
    for call in (lambda: checked(httpx.Client(transport=server).get("http://a/v1/threads/t")),
                 lambda: watched(httpx.Client(transport=server)).get("http://a/v1/threads/t")):
        with pytest.raises(AssertionError, match="header x-request-id: missing"):
            call()
"""
    write(project, integration__a=RECEIVE + text, e2e__c=GOOD)
    run(project, "tests/integration").assert_outcomes(passed=1)


def test_without_the_document_the_checks_skip_and_say_so(project: pytest.Pytester) -> None:
    absent(project)
    write(project, integration__a=BAD)
    result = run(project)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        ["conformance: 1 answers, 0 events unchecked (skipped: /nowhere/openai_spec.json is absent)"]
    )


def test_without_the_document_ci_fails(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    absent(project)
    monkeypatch.setenv("CI", "true")
    write(project, integration__a=BAD, integration__b="def test_none(): pass\n")
    result = run(project, "tests/integration/test_a.py")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*conformance cannot be checked: /nowhere/openai_spec.json is absent*"])
    write(project, integration__a="def test_none(): pass\n")
    assert run(project).ret == pytest.ExitCode.TESTS_FAILED


@needs_the_document
@pytest.mark.parametrize("missing", [False, True])
def test_a_divided_run_is_judged_by_what_all_of_its_parts_saw(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, missing: bool
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    project.makeconftest('pytest_plugins = ["tests.conformance.plugin"]')
    halves = [
        RECEIVE + f"def test_half(conformance): conformance.seen.update(PROMISED[{part}])\n" for part in ("::2", "1::2")
    ]
    write(project, integration__a=halves[0], e2e__b="def test_nothing(): pass\n" if missing else halves[1])
    result = project.runpytest_subprocess("-p", "xdist", "-n", "2", "--dist", "loadfile")
    result.assert_outcomes(passed=2)
    assert result.ret == (pytest.ExitCode.TESTS_FAILED if missing else pytest.ExitCode.OK)
    said = "*a full run must see every operation*" if missing else "*operations in scope not seen: none"
    result.stdout.fnmatch_lines([said])
