"""The metrics: closed labels are what the code can say, open ones are bounded, pieces of answers are timed."""

import re
import urllib.request
from pathlib import Path
from typing import get_args

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.catalog.server import State
from app.engine.turn import Surface
from app.engine.watching import OUTCOMES
from app.inference.failures import ModelFailure
from app.keys.grant import Refusal
from app.keys.limits import Limits
from app.limits.account import Account
from app.limits.ledger import Spent
from app.telemetry import metrics
from app.telemetry.listening import listening
from app.telemetry.sampling import note_jump, note_sizes
from tests.fixtures.processes import ROOT, free_port


def kinds_of(failure: type[ModelFailure]) -> set[str]:
    return {failure.kind, *(kind for below in failure.__subclasses__() for kind in kinds_of(below))}


def test_closed_labels_are_what_the_code_can_say() -> None:
    assert set(metrics.FAILURES) == kinds_of(ModelFailure)
    assert set(metrics.REFUSALS) == {refusal.name.lower() for refusal in Refusal} | {"missing", "scope"}
    assert set(metrics.OUTCOMES) == set(OUTCOMES.values())
    assert set(metrics.STATES) == set(get_args(State))
    assert (*get_args(Surface), "chat") == metrics.SURFACES


def test_every_bound_of_a_limit_has_its_label() -> None:
    none_left = Limits(
        requests_per_minute=0,
        tokens_per_minute=0,
        concurrent_runs=0,
        concurrent_streams=0,
        tokens_per_day=0,
        tokens_per_month=0,
    )
    account = Account(none_left, 0)
    lacks = [account.lacks_request(0), account.lacks_stream(), *account.lacks_run(1, Spent(0, 0), 0, 0)]
    assert {lack.bound for lack in lacks if lack is not None} | {"queue", "model server"} == set(metrics.BOUNDS)


def test_the_words_for_generative_ai_stand_in_one_module() -> None:
    having = [path.name for path in (ROOT / "app").rglob("*.py") if "gen_ai." in path.read_text(encoding="utf-8")]
    assert having == ["genai.py"]


def test_what_is_closed_is_there_from_the_start() -> None:
    told = {
        (sample.name, *sorted(sample.labels.values()))
        for family in text_string_to_metric_families(metrics.exposition().decode())
        for sample in family.samples
    }
    assert ("sovereign_turns_total", "expired", "response") in told
    assert ("sovereign_auth_failures_total", "unknown") in told
    assert ("sovereign_db_transactions_total", "failed", "write") in told


def test_every_name_says_its_unit_and_every_metric_what_it_is() -> None:
    families = [
        family
        for family in text_string_to_metric_families(metrics.exposition().decode())
        if family.name.startswith("sovereign_")
    ]
    assert len(families) > 30
    for family in families:
        assert family.documentation.endswith("."), family.name
        if family.type == "histogram":
            assert re.search(r"_(seconds|works)$", family.name), family.name


def test_a_label_of_the_operators_is_bounded() -> None:
    models = metrics.Known()
    models.are(["llama", "gpt-4o"])
    assert [models.label(name) for name in ("llama", "gpt-4o", "a client's word")] == ["llama", "gpt-4o", "other"]
    projects = metrics.Known(2)
    assert [projects.label(name) for name in ("a", "b", "c", "a")] == ["a", "b", "other", "a"]


def test_an_answers_first_piece_and_those_after_it_are_timed_apart() -> None:
    def counts() -> tuple[float, float]:
        read = metrics.REGISTRY.get_sample_value
        first = read("sovereign_first_token_seconds_count", {"surface": "chat"})
        between = read("sovereign_between_tokens_seconds_count", {"surface": "chat"})
        assert first is not None
        assert between is not None
        return first, between

    before = counts()
    pieces = metrics.Pieces("chat")
    for _ in range(4):
        pieces.told()
    after = counts()
    assert (after[0] - before[0], after[1] - before[1]) == (1, 3)


def test_a_jump_of_the_clock_counts_and_a_drift_does_not() -> None:
    def jumps() -> float:
        return metrics.REGISTRY.get_sample_value("sovereign_clock_jumps_total") or 0.0

    before = jumps()
    offset = 1000.0
    for now in (1000.5, 1001.9, 1003.8):
        offset = note_jump(offset, now)
    assert jumps() == before
    offset = note_jump(offset, 900.0)
    note_jump(offset, 7200.0)
    assert jumps() == before + 2


def test_a_store_and_its_disk_are_measured_and_one_that_is_not_there_has_no_size(tmp_path: Path) -> None:
    def told(name: str) -> float:
        value = metrics.REGISTRY.get_sample_value(f"sovereign_{name}")
        assert value is not None
        return value

    store = tmp_path / "store.db"
    store.write_bytes(b"x" * 10)
    store.with_name("store.db-wal").write_bytes(b"x" * 3)
    note_sizes(store)
    assert (told("db_file_bytes"), told("db_wal_bytes")) == (10, 3)
    assert 0 < told("disk_free_bytes") < told("disk_size_bytes")
    note_sizes(tmp_path / "nothing.db")
    assert (told("db_file_bytes"), told("db_wal_bytes")) == (0, 0)


def test_prometheus_reads_them_on_a_port_of_their_own_without_a_key() -> None:
    port = free_port()
    with listening("127.0.0.1", port), urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        assert answer.headers["content-type"].startswith("text/plain")
        assert b"sovereign_turns_total" in answer.read()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5)
