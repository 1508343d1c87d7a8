"""What the documents say of settings and commands is what the code has."""

import re
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from msgspec import Meta

from app.settings import Variable, load_settings, variables
from ops.__main__ import VERBS
from ops.backup.settings import BackupSettings
from ops.commands.config import as_variable
from tests.fixtures.processes import ROOT

ONLY_IN_DEVELOPMENT = {"STANDIN_PORT"}
OF_THE_APPLIANCE = "\n# --- the appliance"  # tests/unit/appliance holds what follows to compose.yaml

VARIABLES = [*variables(), *variables(BackupSettings)]
TABLE_ROW = re.compile(r"^\| `([A-Z_]+)` \| (?:`([^`]*)`)? ?\| ([^|]*?) ?\| ([^|]+) \|$", re.MULTILINE)


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8").partition(OF_THE_APPLIANCE)[0]


def shown_default(variable: Variable) -> str:
    default = variable.default
    return as_variable(list(default) if isinstance(default, tuple) else default)


def allowed(kind: Any) -> str:
    """Say in words what a type allows."""
    if get_origin(kind) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(kind))
    for arm in get_args(kind):
        if isinstance(arm, Meta):
            return bounds(arm)
        if any(isinstance(inner, Meta) for inner in get_args(arm)):
            return allowed(arm)
    return {tuple: "list", dict: "pairs"}.get(get_origin(kind), "")


def bounds(meta: Meta) -> str:
    if meta.min_length is not None:
        return f"at least {meta.min_length} character{'s' if meta.min_length > 1 else ''}"
    if meta.gt is not None:
        return f"above {meta.gt}, at most {meta.le}"
    return f"at least {meta.ge}" if meta.le is None else f"{meta.ge} to {meta.le}"


def test_the_example_environment_has_every_variable_with_its_default_and_a_line_that_explains_it() -> None:
    blocks = read(".env.example").split("\n\n")
    lines = [block.strip().splitlines() for block in blocks if re.search(r"^# [A-Z_]+=", block, re.MULTILINE)]
    assert all(len(block) == 2 and len(block[0]) > len("# ") for block in lines)
    assert [block[1] for block in lines] == [f"# {one.var.name}={shown_default(one)}" for one in VARIABLES]


def test_the_example_environment_can_be_used_as_it_is_with_every_line_switched_on() -> None:
    lines = re.findall(r"^# ([A-Z_]+)=(.*)$", read(".env.example"), re.MULTILINE)
    assert load_settings(dict(lines)) == load_settings({})


def test_the_settings_document_has_every_variable_with_its_default_and_bounds_in_the_order_of_the_code() -> None:
    rows = TABLE_ROW.findall(read("docs/settings.md"))
    assert [(name, default, given) for name, default, given, _ in rows] == [
        (one.var.name, shown_default(one), allowed(one.type)) for one in VARIABLES
    ]


@pytest.mark.parametrize("name", [".env.example", "docs/settings.md"])
def test_no_document_names_a_variable_that_nobody_reads(name: str) -> None:
    known = {one.var.name for one in VARIABLES} | {f"{one.var.name}_FILE" for one in VARIABLES if one.var.secret}
    named = set(re.findall(r"\b(?:[A-Z]+_)+[A-Z]+\b", read(name)))
    assert named <= known | ONLY_IN_DEVELOPMENT
    assert {f"{one.var.name}_FILE" for one in VARIABLES if one.var.secret} <= named


def test_the_commands_document_has_every_verb() -> None:
    assert re.findall(r"^\| `python -m ops (\w+)", read("docs/commands.md"), re.MULTILINE) == sorted(VERBS)


def test_the_commands_document_has_every_recipe() -> None:
    recipes = set(re.findall(r"^([a-z][a-z-]*)(?: [^:=]*)?:(?!=)", read("Justfile"), re.MULTILINE)) - {"default"}
    assert recipes == set(re.findall(r"`just ([a-z-]+)", read("docs/commands.md")))


def test_every_verb_is_a_command_whose_first_line_says_what_it_does() -> None:
    for module, line in VERBS.values():
        assert (ROOT / Path(*module.split("."))).with_suffix(".py").exists()
        assert line.endswith(".")
