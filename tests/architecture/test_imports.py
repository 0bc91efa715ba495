"""Who may import whom, and what no process that is started per call may pay for."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = sorted((ROOT / "multus").rglob("*.py"))
PLUGINS = sorted(ROOT.glob("plugins/*/src/*/**/*.py"))

#: Costs more than its own work in a process that is started per call.
HEAVY = {
    *("asyncio", "concurrent", "dataclasses", "http", "importlib.metadata", "inspect", "ipaddress"),
    *("logging", "netaddr", "prometheus_client", "pyroute2", "rich", "socket", "ssl", "subprocess"),
    *("tempfile", "urllib", "urllib3", "yaml"),
}

#: What the path of one ADD, DEL or VERSION is made of: everything at the top of ``multus``, the
#: values and the stages.
PER_CALL = [
    path
    for path in CORE
    if path.parent in (ROOT / "multus", ROOT / "multus" / "model", ROOT / "multus" / "stages")
]


def name_of(path: Path) -> str:
    """The dotted name of a module of the core."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, *, top: bool = False) -> Iterator[str]:
    """The modules that a file imports when it runs: all, or those at its top alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in _running(tree, top=top):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _running(tree: ast.AST, *, top: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if top and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        yield child
        yield from _running(child, top=top)


def under(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_the_core_never_imports_a_plugin(path: Path) -> None:
    wrong = [name for name in imports(path) if name.startswith("multus_")]
    assert wrong == []


@pytest.mark.parametrize("path", sorted((ROOT / "multus" / "model").glob("*.py")), ids=name_of)
def test_the_values_import_values_and_errors_alone(path: Path) -> None:
    ours = [name for name in imports(path) if under(name, "multus")]
    allowed = ("multus.model", "multus.errors")
    assert [each for each in ours if not any(under(each, name) for name in allowed)] == []


@pytest.mark.parametrize("path", sorted((ROOT / "multus" / "stages").glob("*.py")), ids=name_of)
def test_a_stage_knows_nothing_of_the_engine_or_of_clusters(path: Path) -> None:
    above = ("pipeline", "work", "skel", "cli", "daemon", "kube", "netlink", "ipam", "ops")
    wrong = [n for n in imports(path) if any(under(n, f"multus.{each}") for each in above)]
    assert wrong == []


#: Extras: a part of the core that only what needs it imports.
EXTRAS = ("multus.kube", "multus.netlink", "multus.ipam", "multus.daemon", "multus.testing")


@pytest.mark.parametrize("path", PER_CALL, ids=name_of)
def test_the_engine_imports_no_extra_at_its_top(path: Path) -> None:
    wrong = [n for n in imports(path, top=True) if any(under(n, extra) for extra in EXTRAS)]
    assert wrong == []


@pytest.mark.parametrize("path", PER_CALL, ids=name_of)
def test_what_a_call_loads_imports_nothing_heavy_at_its_top(path: Path) -> None:
    wrong = {name for name in imports(path, top=True) if any(under(name, h) for h in HEAVY)}
    assert wrong == set()


#: Only the module that is registered is loaded by every call.
REGISTERED = sorted(ROOT.glob("plugins/*/src/*/__init__.py"))


@pytest.mark.parametrize("path", REGISTERED, ids=lambda path: path.parent.name)
def test_a_plugin_imports_nothing_heavy_at_the_top_of_its_module(path: Path) -> None:
    wrong = {name for name in imports(path, top=True) if any(under(name, h) for h in HEAVY)}
    assert wrong == set()


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: str(path.relative_to(ROOT / "plugins")))
def test_a_plugin_imports_no_other_plugin(path: Path) -> None:
    own = path.relative_to(ROOT / "plugins").parts[2]
    others = {name.partition(".")[0] for name in imports(path) if name.startswith("multus_")}
    assert others <= {own}


@pytest.mark.parametrize("path", [*CORE, *PLUGINS], ids=lambda path: str(path.relative_to(ROOT)))
def test_names_say_what_things_are_for(path: Path) -> None:
    assert not {"util", "utils", "helper", "helpers", "common", "misc"} & set(path.parts)
    assert path.stem not in {"util", "utils", "helper", "helpers", "common", "misc"}
