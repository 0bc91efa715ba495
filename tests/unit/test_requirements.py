"""What the metadata asks for is what the code imports, part by part."""

from __future__ import annotations

import ast
import configparser
import re
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "multus"
PLUGINS = sorted(path.parent for path in ROOT.glob("plugins/*/setup.cfg"))
RUNTIME = ("kube", "certificate", "netlink", "daemon", "terminal")


def normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def imported(paths: Iterable[Path]) -> set[str]:
    """The distributions, other than ours, that files import."""
    known = packages_distributions()
    names = {name.split(".")[0] for path in paths for name in _modules(path)}
    foreign = {name for name in names if not name.startswith("multus")} - sys.stdlib_module_names
    return {normal(each) for name in foreign for each in known.get(name, [name])}


def _modules(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def sources(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def required(folder: Path, *extras: str) -> set[str]:
    """The distributions, other than ours, that a folder's metadata asks for with these extras."""
    metadata = configparser.ConfigParser(comment_prefixes=("#",))
    metadata.read(folder / "setup.cfg")
    texts = [metadata["options"]["install_requires"]]
    texts += [metadata["options.extras_require"][each] for each in extras]
    found: set[str] = set()
    for line in "\n".join(texts).split("\n"):
        wanted = re.match(r"([\w.-]+)(?:\[([\w,]+)\])?", line)
        if wanted and wanted[1] == "multus":
            found |= required(ROOT, *(wanted[2].split(",") if wanted[2] else ()))
        elif wanted:
            found.add(normal(wanted[1]))
    return found


def runtime() -> list[Path]:
    return [path for path in sources(CORE) if CORE / "testing" not in path.parents]


def test_the_core_imports_what_it_and_its_extras_install() -> None:
    assert imported(runtime()) - required(ROOT, *RUNTIME) == set()


@pytest.mark.parametrize("extra", RUNTIME)
def test_an_extra_installs_nothing_that_the_core_does_not_import(extra: str) -> None:
    assert required(ROOT, extra) - imported(runtime()) == set()


@pytest.mark.parametrize("extra", ["kube", "certificate", "netlink", "daemon"])
def test_a_part_of_the_core_needs_the_extra_of_its_name_alone(extra: str) -> None:
    assert imported(sources(CORE / extra)) - required(ROOT, extra) == set()


def test_the_test_kit_needs_the_extra_testing_alone() -> None:
    # It reads namespaces by multus.netlink.inventory.
    used = imported([*sources(CORE / "testing"), *sources(CORE / "netlink")])
    assert used - required(ROOT, "testing") == set()
    assert required(ROOT, "testing") - required(ROOT) - used == set()


@pytest.mark.parametrize("folder", PLUGINS, ids=lambda folder: folder.name)
def test_a_plugin_imports_what_it_installs(folder: Path) -> None:
    assert imported(sources(folder / "src")) - required(folder) == set()
