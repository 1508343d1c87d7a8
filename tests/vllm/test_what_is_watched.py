"""What rules and dashboards ask of vLLM is what a real one tells, once it has answered something."""

import math
import re
from pathlib import Path

from tests.fixtures.processes import ROOT
from tests.observability.panels import ASKED
from tests.observability.rules import hurried_expression, metrics_in, rules
from tests.observability.stack import Around, whole_stack
from tests.observability.traffic import going_on
from tests.vllm.engine import API_KEY, MODEL, Engine
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


def test_every_panel_of_vllm_shows_a_real_one_under_the_api(engine: Engine, tmp_path: Path) -> None:
    model = {"MODEL_URL": f"{engine.address}/v1", "MODEL_API_KEY": API_KEY, "MODEL_ALIASES": f"llama={MODEL}"}
    around = {"serve": Around(env=model)}
    with whole_stack(tmp_path, around, vllm=f"127.0.0.1:{engine.port}") as stack, going_on(stack):

        def shows(expression: str) -> bool:
            found = stack.prometheus.query(hurried_expression(expression))
            return bool(found) and all(math.isfinite(float(series["value"][1])) for series in found)

        for one in ASKED:
            if "vllm:" in one.expression or "first_token" in one.expression:
                stack.prometheus.wait(lambda one=one: shows(one.expression), 30)
