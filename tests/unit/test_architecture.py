"""Who may import whom, and what may not be imported at a module's top."""

from __future__ import annotations

import ast
import configparser
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from string import Template

import pytest

from multus.api import PUBLIC

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "multus"
PLUGINS = sorted(path.parent for path in ROOT.glob("plugins/*/setup.cfg"))

#: A process that is started per call must not load these before it needs them.
HEAVY = {"argparse", "asyncio", "dataclasses", "http", "importlib.metadata", "ipaddress"}
HEAVY |= {"logging", "netaddr", "pathlib", "pyroute2", "rich", "ssl", "subprocess", "tempfile"}
HEAVY |= {"urllib", "urllib3", "yaml", "prometheus_client"}

#: Parts that no such process loads; each owns what it imports.
LOADED_ON_PURPOSE = {
    *("certificate", "cli", "daemon", "inventory", "kube", "picture", "serving", "testing"),
}


def sources(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def imported(path: Path, *, top: bool = False) -> Iterator[str]:
    """The modules that a file imports: anywhere, or when it is loaded."""
    tree = ast.parse(path.read_text())
    for node in _loaded(tree) if top else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _loaded(tree: ast.AST) -> Iterator[ast.AST]:
    """What runs when a module is loaded: not functions' bodies, nor what types alone need."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from _loaded(node)


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


@pytest.mark.parametrize("path", sources(CORE), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_core_imports_no_plugin(path: Path) -> None:
    assert [name for name in imported(path) if name.startswith("multus_")] == []


def test_the_api_imports_itself_only() -> None:
    for path in sources(CORE / "api"):
        ours = [name for name in imported(path, top=True) if within(name, "multus")]
        assert [name for name in ours if not within(name, "multus.api")] in ([], ["multus"]), path


def test_the_engine_knows_neither_kubernetes_nor_netlink_nor_the_daemon() -> None:
    foreign = ("cli", "daemon", "ipam", "kube", "netlink", "testing")
    for path in sources(CORE / "engine"):
        for name in imported(path):
            assert not any(within(name, f"multus.{each}") for each in foreign), (path, name)


def test_the_state_does_not_know_the_engine() -> None:
    """Types included: the engine gives a transaction what it needs, and there is no circle."""
    for path in sources(CORE / "state"):
        found = [name for name in imported(path) if within(name, "multus.engine")]
        assert found == [], path


#: What has effects on files, the kernel or other processes; the other stages only make values.
EFFECTS = {"multus.state.transaction", "multus.state.lock", "multus.state.recordfile"}
EFFECTS |= {"multus.state.undo", "multus.state.garbage", "multus.api.execute", "multus.api.atomic"}


@pytest.mark.parametrize("stage", ["parse", "resolve", "order", "merge", "permit"])
def test_only_the_stage_invoke_has_effects(stage: str) -> None:
    found = set(imported(CORE / "engine" / f"{stage}.py"))
    assert not found & EFFECTS
    assert not {name for name in found if within(name, "multus.engine.invoke")}


@pytest.mark.parametrize("folder", PLUGINS, ids=lambda folder: folder.name)
def test_a_plugin_imports_no_other_plugin(folder: Path) -> None:
    own = folder.name.replace("-", "_")
    for path in sources(folder / "src"):
        others = {name.partition(".")[0] for name in imported(path) if name.startswith("multus_")}
        assert others - {own} - required(folder) == set(), path


@pytest.mark.parametrize("folder", PLUGINS, ids=lambda folder: folder.name)
def test_a_plugin_leaves_the_clients_of_kubernetes_to_the_core(folder: Path) -> None:
    """It has ``multus.api.kubernetes``, and need not know who answers."""
    for path in sources(folder / "src"):
        assert [name for name in imported(path) if within(name, "multus.kube")] == [], path


def required(folder: Path) -> set[str]:
    """The packages of the distributions that a plugin's metadata asks for."""
    metadata = configparser.ConfigParser()
    metadata.read(folder / "setup.cfg")
    wanted = metadata["options"]["install_requires"].split()
    return {re.split(r"[~>\[]", each)[0].replace("-", "_") for each in wanted}


@pytest.mark.parametrize(
    "path",
    [path for path in sources(CORE) if path.parent.name not in LOADED_ON_PURPOSE]
    + [path for folder in PLUGINS for path in sources(folder / "src")],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_nothing_heavy_is_imported_at_the_top(path: Path) -> None:
    if LOADED_ON_PURPOSE & set(path.relative_to(ROOT).parts):
        return
    top = set(imported(path, top=True))
    assert [name for name in top if any(within(name, each) for each in HEAVY)] == []


@pytest.mark.parametrize(
    "path",
    sources(CORE / "cli"),
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_commands_speak_through_the_screen(path: Path) -> None:
    """What is shown passes one place that makes it printable; see ``multus.cli.screen``."""
    if path in {CORE / "cli" / name for name in ("screen.py", "telling.py", "__init__.py")}:
        return
    tree = ast.walk(ast.parse(path.read_text()))
    used = {ast.unparse(node) for node in tree if isinstance(node, ast.Attribute | ast.Name)}
    streams = {f"sys.{under}{name}{under}" for name in ("stdout", "stderr") for under in ("", "__")}
    assert used & {"print", "os.write", *streams} == set()
    assert [name for name in imported(path) if within(name, "rich")] == []


def test_every_plugin_goes_in_lockstep_with_the_core() -> None:
    from multus import __version__ as version

    for folder in PLUGINS:
        metadata = configparser.ConfigParser()
        metadata.read(folder / "setup.cfg")
        assert metadata["metadata"]["version"] == version, folder
        wanted = metadata["options"]["install_requires"].split()
        assert any(re.fullmatch(rf"multus(\[[a-z,]+\])?~={version}", e) for e in wanted), folder


def test_every_plugin_has_its_tox_environment() -> None:
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    named = next(section for section in tox.sections() if section.startswith("testenv:multus-"))
    listed = named.partition("{")[2].rstrip("}").split(",")
    assert sorted(f"multus-{each}" for each in listed) == [folder.name for folder in PLUGINS]


# --- The door: what a plugin may import -----------------------------------------------------------


def texts() -> Iterator[tuple[str, str]]:
    """Every plugin and example, the templates of new ones, and the code that the pages show."""
    for pattern in ("plugins/*/src/**/*.py", "examples/**/*.py"):
        for path in sorted(ROOT.glob(pattern)):
            yield str(path.relative_to(ROOT)), path.read_text()
    for path in sorted(CORE.glob("cli/commands/new_plugin/templates/*/*.py.tmpl")):
        names = {"module": "their_module", "name": "their-name", "title": "Theirs"}
        yield str(path.relative_to(ROOT)), Template(path.read_text()).safe_substitute(names)
    pages = [*ROOT.glob("docs/*.md"), *ROOT.glob("plugins/*/README.md"), ROOT / "README.md"]
    for path in sorted(pages):
        blocks = re.findall(r"^```python\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)
        for number, block in enumerate(blocks):
            yield f"{path.relative_to(ROOT)}:{number}", block


def trespassing(text: str) -> list[str]:
    """What a plugin's text takes from Multus that is not public; type checkers' imports count."""
    tree = ast.parse(text)
    found, ours = [], set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if within(alias.name, "multus")]
            found += [name for name in names if not is_public(name)]
        elif isinstance(node, ast.ImportFrom) and within(node.module or "", "multus"):
            module = str(node.module)
            names = [alias.name for alias in node.names]
            ours |= {alias.asname or alias.name for alias in node.names}
            found += [f"{module}.{name}" for name in names if not is_public(f"{module}.{name}")]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            root = ast.unparse(node.value).partition(".")[0]
            if root in {*ours, "multus"}:
                found.append(ast.unparse(node))
    return found


def is_public(name: str) -> bool:
    """Whether a dotted name is a public module, or a public name of one."""
    if any(part.startswith("_") for part in name.split(".")):
        return False
    if is_module(name):
        return name == "multus" or any(within(name, package) for package in PUBLIC)
    module, _, own = name.rpartition(".")
    if not is_module(module) or not is_public(module):
        return False
    listed = getattr(importlib.import_module(module), "__all__", None)
    if listed is not None:
        return own in listed
    tree = ast.parse(Path(str(importlib.import_module(module).__file__)).read_text())
    return own in {name for node in tree.body for name in defined(node)}


def is_module(name: str) -> bool:
    place = ROOT.joinpath(*name.split("."))
    return place.with_suffix(".py").exists() or (place / "__init__.py").exists()


def defined(node: ast.stmt) -> Iterator[str]:
    """The names that a statement of a module defines; what it imports is another module's."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        yield from (
            each.id for one in targets for each in ast.walk(one) if isinstance(each, ast.Name)
        )


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in texts()])
def test_a_plugin_imports_what_is_public_alone(text: str) -> None:
    assert trespassing(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "import multus.engine",
        "import multus.api._paths",
        "from multus import log, engine",
        "from multus.engine.order import order",
        "from multus.api._paths import is_plain",
        "from multus.api import _paths",
        "from multus.api.jsontext import _Number",
        "from multus.api.network import Mapping",
        "from multus.api.progress import watched_by",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from multus.kube.client import X",
        "def late():\n    from multus.registry.hooks import Hooks",
        "from multus import netlink\nnetlink._channel.Channel",
    ],
)
def test_the_door_is_closed_to(text: str) -> None:
    assert len(trespassing(text)) == 1


def test_every_public_package_exists() -> None:
    assert [name for name in PUBLIC if not is_module(name)] == []
