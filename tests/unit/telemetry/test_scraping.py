"""Prometheus' configuration and rules say what compose.yaml and the engine's start say."""

from typing import Any

import yaml

from app.settings import load_settings
from ops.vllm.start import SETTINGS
from tests.fixtures.processes import ROOT


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_every_target_is_a_service_and_the_port_on_which_it_tells() -> None:
    services = read("compose.yaml")["services"]
    model = services["vllm"]["networks"]["inside"]["aliases"]
    targets = {
        job["job_name"]: job["static_configs"][0]["targets"][0]
        for job in read("prometheus/prometheus.yml")["scrape_configs"]
    }
    assert targets.pop("prometheus") == "127.0.0.1:9090"
    assert targets == {
        "api": f"api:{services['api']['environment']['METRICS_PORT']}",
        "backup": "backup:9102",
        "vllm": f"{model[0]}:8000",
        "gpu-exporter": "gpu-exporter:9400",
    }
    assert "inside" in services["prometheus"]["networks"]
    assert not [port for port in services["api"]["ports"] if "9101" in port], "metrics are published"


def test_the_share_of_the_card_that_alerts_know_is_the_one_that_vllm_is_given() -> None:
    assert read("compose.yaml")["services"]["api"]["environment"]["VRAM_SHARE"] == "${ENGINE_MEMORY_SHARE:-}"
    (given,) = [setting.default for setting in SETTINGS if setting.name == "ENGINE_MEMORY_SHARE"]
    assert load_settings({"VRAM_SHARE": ""}).vram_share == float(given)
