"""ARCHITECTURE.md and CONTRIBUTING.md name what is there: paths, dotted names, classes, commands, contracts."""

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path

import pytest

from nexus_edge.cli.commands import find_commands

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "nexus_edge"
PAGES = ("ARCHITECTURE.md", "CONTRIBUTING.md")
FILE = re.compile(r"[\w.*-]+\.(?:py|md|toml|json|txt|yaml|cff)")
PATH = re.compile(r"\.?[\w.*-]+(?:/[\w.*-]+)*/?")
# What a bundle, a checkpoint or a user brings, not this repository.
ELSEWHERE = {"config.json", "onnx/", "openvino/", "coreml/", "processor/", "manifest.json", "cases.json", "out/"}


def spans(page: str) -> Iterator[str]:
    """What a page has in backticks, and the labels of its drawings without their quotes."""
    text = (ROOT / page).read_text("utf-8")
    for block in re.findall(r"```mermaid\n(.*?)```", text, re.DOTALL):
        yield from re.findall(r"[\w./-]+/[\w./-]+\w|\w+\.\w+", block)
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    yield from (span.removeprefix("python -m ") for span in re.findall(r"`([^`\n]+)`", prose))


def names(page: str, kind: str) -> list[str]:
    return sorted({span for span in spans(page) if kind_of(span) == kind})


def kind_of(span: str) -> str:
    if span in ELSEWHERE:
        return "elsewhere"
    if span.startswith("nexus-edge "):
        return "command"
    if span.startswith("make "):
        return "target of make"
    if "/" in span or FILE.fullmatch(span):
        return "path" if PATH.fullmatch(span) else "other"
    if re.fullmatch(r"[A-Za-z_]+(?:\.[A-Za-z_]\w*)+", span):
        return "dotted"
    if re.fullmatch(r"[A-Z][A-Za-z]+", span) and not span.isupper():
        return "class"
    return "other"


@cache
def defined(module: Path) -> dict[str, ast.stmt]:
    """Name -> the statement of a module, or of a class, that defines or imports it."""
    return members(ast.parse(module.read_text("utf-8")).body)


def members(body: list[ast.stmt]) -> dict[str, ast.stmt]:
    found: dict[str, ast.stmt] = {}
    for statement in body:
        if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found[statement.name] = statement
        elif isinstance(statement, ast.Assign):
            found |= {target.id: statement for target in statement.targets if isinstance(target, ast.Name)}
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            found[statement.target.id] = statement
        elif isinstance(statement, ast.If):  # names for type checkers, whose values are made when they are asked for
            found |= members(statement.body)
        elif isinstance(statement, ast.ImportFrom):
            found |= {alias.asname or alias.name: statement for alias in statement.names}
    return found


@cache
def classes() -> dict[str, list[ast.stmt]]:
    """Every class and alias of the package, by name."""
    found: dict[str, list[ast.stmt]] = {}
    for module in PACKAGE.rglob("*.py"):
        for name, node in defined(module).items():
            if not isinstance(node, ast.ImportFrom):
                found.setdefault(name, []).append(node)
    return found


def exists(dotted: str) -> bool:
    """Whether a name is a module of the package, a name in one, or a member of one of its classes."""
    first, *rest = dotted.split(".")
    if first[0].isupper():
        owners = [node for node in classes().get(first, []) if isinstance(node, ast.ClassDef)]
        return any(rest[0] in members(owner.body) for owner in owners)
    parts = dotted.removeprefix("nexus_edge.").split(".")
    place = PACKAGE
    while parts and (place / parts[0]).is_dir():
        place /= parts.pop(0)
    module = place / f"{parts[0]}.py" if parts else place / "__init__.py"
    if parts and module.is_file():
        parts.pop(0)
    else:
        module = place / "__init__.py"
    return module.is_file() and len(parts) <= 1 and (not parts or parts[0] in defined(module))


@pytest.mark.parametrize("page", PAGES)
def test_every_path_is_there(page: str) -> None:
    """Of the repository or of the package, a bare name anywhere in the package; a pattern stands for at least one."""
    found = names(page, "path")
    assert len(found) > 30, "the page is read"
    assert [path for path in found if not is_there(path.rstrip("/"))] == []


def is_there(path: str) -> bool:
    anywhere = () if "/" in path else PACKAGE.rglob(path)
    return any(chain(ROOT.glob(path), PACKAGE.glob(path), anywhere))


@pytest.mark.parametrize("page", PAGES)
def test_every_dotted_name_is_defined(page: str) -> None:
    found = names(page, "dotted")
    assert found, "the page is read"
    assert [name for name in found if not (exists(name) or name.startswith("torch."))] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_class_is_defined(page: str) -> None:
    assert [name for name in names(page, "class") if name not in classes()] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_one(page: str) -> None:
    commands = {span.split()[1] for span in names(page, "command")}
    assert {name for name in commands if not name.startswith("-")} <= find_commands().keys() | {"NAME"}
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {span.split()[1] for span in names(page, "target of make")} <= set(targets)


@pytest.mark.parametrize(
    "dotted", ["nexus_edge.axes.target", "nexus_edge.engine.base", "Family.splits", "nexus_edge.load.more"]
)
def test_a_name_that_is_none_would_be_found(dotted: str) -> None:
    assert kind_of(dotted) == "dotted"
    assert not exists(dotted)


def test_the_table_of_rooms_is_that_of_the_contracts() -> None:
    """Each folder of the package with the ids of the contracts that pyproject.toml lays on it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    rooms = {path.name: set[str]() for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    for contract in project["tool"]["importlinter"]["contracts"]:
        for module in contract["source_modules"]:
            rooms[module.removeprefix("nexus_edge.")].add(contract["id"])
    page = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    section = page[page.index("## The rooms") : page.index("## The contracts")]
    rows = re.findall(r"^\| `(\w+)/` \| .* \| ?(.*?) ?\|$", section, re.MULTILINE)
    assert {room: set(filter(None, ids.split(", "))) for room, ids in rows} == rooms


def test_each_contract_has_its_sentence() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    described = set(re.findall(r"^\| `interfaces/(\w+)\.py` \|", page, re.MULTILINE))
    assert described == {path.stem for path in (PACKAGE / "interfaces").glob("*.py")} - {"__init__"}
