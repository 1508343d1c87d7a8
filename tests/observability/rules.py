"""The product's rules, and the same rules for a Prometheus whose time runs FASTER times as fast."""

import re
from pathlib import Path
from typing import Any

import yaml

from tests.fixtures.processes import ROOT

FASTER = 30
ALWAYS = {"Watchdog"}
"""What fires on a good day."""
FOLDER = ROOT / "prometheus"
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
DURATION = re.compile(r"\b(\d+)([smhd])\b")
NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
STRING = re.compile(r'"[^"]*"')
SELECTOR = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[^}]*\})")
RARE = re.compile(r'\b(status|severity)=~?"[^"]*"')
BY = re.compile(r"\bby\s*\(([^)]*)\)")
MATCHERS = re.compile(r"\{[^}]*\}")
WORDS = re.compile(
    "^(sum|max|min|count|by|on|ignoring|group_left|or|and|unless|rate|increase|absent|time|vector|scalar|histogram_quantile"
    "|predict_linear|max_over_time|min_over_time|last_over_time|clamp_min)$"
)
"""What in an expression is PromQL's own."""


def loaded() -> dict[str, Any]:
    """Return every rules file by its name."""
    return {path.name: yaml.safe_load(path.read_text()) for path in sorted((FOLDER / "rules").glob("*.yml"))}


def rules(kind: str) -> list[dict[str, Any]]:
    """Return every rule that is an `alert`, or that is a `record`."""
    return [rule for file in loaded().values() for group in file["groups"] for rule in group["rules"] if kind in rule]


def hurried(text: str) -> str:
    """Return a text with every duration in it FASTER times shorter, in milliseconds."""
    return DURATION.sub(lambda found: f"{int(found[1]) * SECONDS[found[2]] * 1000 // FASTER}ms", text)


def hurried_expression(expression: str) -> str:
    """Return an expression with its windows that much shorter; bounds in seconds stay what they are."""
    return re.sub(r"\[[^]]*\]", lambda window: hurried(window[0]), expression)


def hurry(folder: Path) -> None:
    """Write the rules for a faster Prometheus."""
    for name, file in loaded().items():
        for group in file["groups"]:
            group.pop("interval", None)
            for rule in group["rules"]:
                rule["expr"] = hurried_expression(rule["expr"])
                if "for" in rule:
                    rule["for"] = hurried(rule["for"])
        (folder / name).write_text(yaml.safe_dump(file))


def selectors_in(expression: str) -> list[tuple[str, str]]:
    """Return the metrics that an expression names with matchers, and those; of a status any, since some are rare."""
    return [(name, RARE.sub(r'\1!=""', matchers)) for name, matchers in SELECTOR.findall(expression)]


def grouped_by(expression: str) -> set[str]:
    """Return the labels by which an expression groups."""
    labels = {label for found in BY.findall(expression) for label in re.split(r",\s*", found)}
    return labels - {"le"}


def metrics_in(expression: str) -> set[str]:
    """Return the metrics that an expression names."""
    bare = MATCHERS.sub("", STRING.sub('""', re.sub(r"\[[^]]*\]", "", expression)))
    bare = re.sub(r"\b(by|on|ignoring)\s*\([^)]*\)", "", bare)
    return {name for name in NAME.findall(bare) if not WORDS.match(name)}
