"""The shape of the code: import contracts that bite, and what import-linter cannot say."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.processes import ROOT

LINES_LIMIT = 400
FORBIDDEN_NAMES = {"base", "common", "helpers", "logging", "manager", "misc", "types", "util", "utils"}

PACKAGES = ("app", "ops", "migrations", "bench", "tests")
MODULES = sorted(path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
PRODUCT = [path for path in MODULES if path.parts[0] in ("app", "ops")]

# Where they are written, outside app/db.
STATEMENTS = {"repository.py", "journal.py", "pruning.py", "statements.py", "history.py"}

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef

# One line each that an honest day's work might add, and the contract that must refuse it.
BREACHES = {
    "Imports of app point one way": ("app/kit/clock.py", "import app.errors"),
    "The API knows nothing of the operator's commands": ("app/settings.py", "import ops.commands"),
    "The stand-in shares nothing with the API that it is there to try": ("ops/standin/engine.py", "import app.kit.ids"),
    "Errors import nothing of ours and no framework": ("app/errors.py", "import msgspec"),
    "The loop knows no database": ("app/engine/turn.py", "import app.db.database"),
    "Litestar stays in controllers, the edge and the composition root": ("app/runs/service.py", "import litestar"),
    "SQLAlchemy stays in the store, repositories and the journal": ("app/assistants/service.py", "import sqlalchemy"),
    "Alembic stays beside the migrations": ("app/main.py", "import alembic"),
    "Each driver stays in its module": ("app/db/database.py", "import aiosqlite"),
    "aiohttp stays in the stand-in, which serves with it": ("app/web/auth.py", "import aiohttp"),
    "The server alone knows uvicorn": ("app/main.py", "import uvicorn"),
}


def parsed(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


def public_definitions(body: list[ast.stmt], outer: str = "") -> Iterator[tuple[str, Definition]]:
    """Yield the classes and functions that other modules may use, methods included."""
    for node in body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield outer + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public_definitions(node.body, f"{outer}{node.name}.")


def lint_imports(folder: Path) -> "subprocess.CompletedProcess[str]":
    """Check the import contracts of a copy of the code."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Give a copy of the code that the contracts speak of."""
    for name in ("app", "ops"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "assets"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_code_keeps_every_import_contract(copy: Path) -> None:
    checked = lint_imports(copy)
    assert checked.returncode == 0, checked.stdout


def test_every_import_contract_refuses_what_it_is_there_to_refuse(copy: Path) -> None:
    for name, line in BREACHES.values():
        with (copy / name).open("a") as file:
            file.write(f"\n\ndef _breach() -> None:\n    {line}\n")
    checked = lint_imports(copy)
    assert checked.returncode == 1
    assert set(re.findall(r"^(.+) BROKEN$", checked.stdout, re.MULTILINE)) == set(BREACHES)
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert {contract["name"] for contract in contracts} == set(BREACHES)


def test_a_new_part_must_be_given_its_place(copy: Path) -> None:
    (copy / "app/newcomer").mkdir()
    (copy / "app/newcomer/__init__.py").write_text('"""Nobody knows where this belongs."""\n')
    checked = lint_imports(copy)
    assert checked.returncode == 1
    assert "newcomer" in checked.stdout


def test_just_lint_checks_the_import_contracts() -> None:
    recipe = re.search(r"^lint:.*\n((?:    .*\n)+)", (ROOT / "Justfile").read_text(), re.MULTILINE)
    assert recipe is not None
    assert "lint-imports --no-cache" in recipe[1]


def test_every_module_opens_with_what_lives_in_it() -> None:
    assert [str(path) for path in MODULES if not ast.get_docstring(parsed(path))] == []


def test_every_module_can_be_read_at_a_sitting() -> None:
    lengths = {str(path): len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {path: length for path, length in lengths.items() if length > LINES_LIMIT} == {}


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert [str(path) for path in MODULES if path.stem.strip("_") in FORBIDDEN_NAMES] == []


def test_everything_public_says_what_it_is_for() -> None:
    silent = [
        f"{path}: {name}"
        for path in PRODUCT
        for name, node in public_definitions(parsed(path).body)
        if not ast.get_docstring(node)
    ]
    assert silent == []


def test_nobody_but_the_settings_reads_the_environment_and_they_are_given_it() -> None:
    readers = [
        str(path)
        for path in PRODUCT
        if path.parts[0] == "app" and re.search(r"\bos\.(environ|getenv)\b", (ROOT / path).read_text())
    ]
    assert readers == []


def test_outside_the_store_only_the_type_of_a_row_is_taken_from_sqlalchemy() -> None:
    taken = {
        (str(path), alias.name)
        for path in PRODUCT
        if path.match("app/*/*.py") or path.match("app/*.py")
        if path.parts[1] != "db" and path.name not in STATEMENTS
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sqlalchemy")
        for alias in node.names
    }
    of_settings = {("app/settings.py", name) for name in ("make_url", "ArgumentError")}
    assert {name for path, name in taken - of_settings} == {"Row"}


def test_controllers_import_the_types_of_their_handlers_at_runtime() -> None:
    # Litestar reads the annotations: as text they would need a namespace of their own.
    postponed = [path for path in PRODUCT if path.name == "controller.py" and "__future__" in (ROOT / path).read_text()]
    assert postponed == []
