"""No two modules of Multus import each other, and each package imports only those below it.

Every import counts: those inside functions, and those that only type checkers see.
"""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from repository import ROOT

#: The packages, from the ground up; docs/architecture.md says what each holds.
LAYERS = (
    *("api", "log", "netlink", "ipam", "inprocess", "kube", "certificate", "registry", "state"),
    *("engine", "healing", "serving", "picture", "cni", "daemon", "testing", "cli", "__main__"),
)

#: Imports of a higher package that are meant: (module, package).
MEANT = {
    # A session without access to Kubernetes gets a client when a plugin asks for it.
    ("multus.api.kubernetes._opening", "kube"),
}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in (ROOT / "multus").rglob("*.py")}


def imported(path: Path) -> set[str]:
    """The modules of Multus that a file imports; of a package, the module that is meant."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {each if each in MODULES else node.module for each in inner}
    return found & MODULES.keys()


GRAPH = {name: imported(path) - {name} for name, path in MODULES.items()}


def test_there_is_no_circle() -> None:
    try:
        list(TopologicalSorter(GRAPH).static_order())
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def package(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def test_every_package_has_its_layer() -> None:
    assert {package(name) for name in MODULES} - {""} == set(LAYERS)


@pytest.mark.parametrize("lower", LAYERS)
def test_a_package_imports_no_higher_one(lower: str) -> None:
    higher = set(LAYERS[LAYERS.index(lower) + 1 :])
    # The values of the API name the log as a type: it is what plugins write to.
    higher -= {"log"} if lower == "api" else set()
    wrong = [
        (name, each)
        for name in GRAPH
        for each in GRAPH[name]
        if package(name) == lower and package(each) in higher and (name, package(each)) not in MEANT
    ]
    assert wrong == []
