"""The packages for plugin authors: what is public is listed and documented, the rest says so."""

from __future__ import annotations

import ast
import inspect
import pkgutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("multus.netlink", "multus.ipam", "multus.inprocess", "multus.api.kubernetes")
MODULES = [
    f"{name}{f'.{each}' if each else ''}"
    for name in PACKAGES
    for each in ("", *import_module(name).MODULES)
]


@pytest.mark.parametrize("name", PACKAGES)
def test_the_public_modules_are_those_that_are_listed(name: str) -> None:
    package = import_module(name)
    found = {each.name for each in pkgutil.iter_modules(package.__path__)}
    assert {each for each in found if not each.startswith("_")} == set(package.MODULES)
    assert all(f"``{each}``" in (package.__doc__ or "") for each in package.MODULES)


def public(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Public functions and classes that a module has of its own, or lists, with their methods."""
    listed = getattr(module, "__all__", ())
    for name, value in vars(module).items():
        own = getattr(value, "__module__", None) == module.__name__ and not name.startswith("_")
        if not (inspect.isfunction(value) or inspect.isclass(value)) or not (own or name in listed):
            continue
        yield f"{module.__name__}.{name}", value
        for method, inner in vars(value).items() if inspect.isclass(value) else ():
            if inspect.isfunction(inner) and not method.startswith("_"):
                yield f"{module.__name__}.{name}.{method}", inner


@pytest.mark.parametrize("name", MODULES)
def test_what_is_public_is_documented(name: str) -> None:
    module = import_module(name)
    assert module.__doc__
    assert [where for where, value in public(module) if not inspect.getdoc(value)] == []


def sources() -> Iterator[Path]:
    for folder in ("multus", "plugins", "examples", "bench"):
        yield from (each for each in (ROOT / folder).rglob("*.py") if "tests" not in each.parts)


@pytest.mark.parametrize("name", PACKAGES)
def test_only_its_implementation_imports_what_is_internal(name: str) -> None:
    inside = [ROOT.joinpath(*name.split("."))]
    if name == "multus.api.kubernetes":
        # The clients implement the interface; a package that imported them could not be theirs.
        inside += [ROOT / "multus" / "kube", ROOT / "multus" / "api"]
    found = [
        (path, node.module)
        for path in sources()
        if not any(each in path.parents for each in inside)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        and node.module
        and (node.module == name or node.module.startswith(f"{name}."))
        and any(
            part.startswith("_")
            for part in (*node.module.split("."), *(alias.name for alias in node.names))
        )
    ]
    assert found == []


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_stands_on_its_page(name: str) -> None:
    """The pages are written by hand; their reference is made of the docstrings."""
    pages = {"multus.netlink.masquerade": "masquerade", "multus.netlink": "netlink"}
    pages |= {"multus.ipam": "ipam", "multus.inprocess": "inprocess"}
    pages |= {"multus.api.kubernetes": "kubernetes-api"}
    page = pages.get(name) or pages[name.rpartition(".")[0]]
    text = (ROOT / "docs" / f"{page}.md").read_text()
    assert f"automodule:: {name}\n" in text
