"""What rules and dashboards ask of vLLM is what a real one tells, once it has answered something."""

import re

from tests.fixtures.processes import ROOT
from tests.observability.panels import ASKED
from tests.observability.rules import metrics_in, rules
from tests.vllm.engine import Engine
from tests.vllm.server import get

ASKED_OF_VLLM = {
    name
    for expression in [*(one.expression for one in ASKED), *(rule["expr"] for rule in rules("alert") + rules("record"))]
    for name in metrics_in(expression)
    if name.startswith("vllm:")
}
RECORDED = ROOT / "tests" / "observability" / "recorded" / "vllm.prom"


def names_in(exposition: str) -> set[str]:
    return set(re.findall(r"^(vllm:\w+)", exposition, re.MULTILINE))


def test_a_real_vllm_tells_all_that_it_is_asked(engine: Engine) -> None:
    status, told = get(engine.port, "/metrics")
    assert status == 200
    assert len(ASKED_OF_VLLM) > 10
    assert names_in(told) >= ASKED_OF_VLLM, ASKED_OF_VLLM - names_in(told)


def test_the_recording_has_no_name_that_a_real_one_does_not_tell(engine: Engine) -> None:
    assert names_in(RECORDED.read_text()) <= names_in(get(engine.port, "/metrics")[1])
