"""Writing a plugin's distribution: templates, and the words that take their places."""

from __future__ import annotations

import os
import re
from importlib import resources
from string import Template
from typing import TYPE_CHECKING

from multus import __version__
from multus.api.errors import InvalidConfig, IOFailure

if TYPE_CHECKING:
    from importlib.abc import Traversable

KINDS = ("source", "invoker", "merger", "observer")

#: Kinds whose template reads a key of Multus' configuration.
_WITH_KEY = ("source", "observer")

#: The files that every kind has, and the template of each.
_COMMON = {
    ".github/workflows/check.yaml": "check.yaml.tmpl",
    ".gitignore": "gitignore.tmpl",
    "LICENSE": "LICENSE.tmpl",
    "pyproject.toml": "pyproject.toml.tmpl",
    "setup.cfg": "setup.cfg.tmpl",
    "tox.ini": "tox.ini.tmpl",
}


def write(kind: str, name: str, into: str) -> str:
    """Write a new plugin of *kind* below the folder *into*; returns the distribution's folder.

    Raises ``InvalidConfig`` for a name that cannot be, ``IOFailure`` when the folder is there.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise InvalidConfig(
            f"name {name!r}",
            fix="use lower-case letters, digits and '-'",
        )
    words = _words(kind, name)
    folder = os.path.join(into, words["distribution"])
    templates = resources.files(__package__) / "templates"
    module = f"src/{words['module']}"
    files = {path: f"common/{template}" for path, template in _COMMON.items()} | {
        "README.md": f"{kind}/README.md.tmpl",
        f"{module}/__init__.py": f"{kind}/plugin.py.tmpl",
        f"tests/test_{words['module']}.py": f"{kind}/test_plugin.py.tmpl",
    }
    try:
        os.makedirs(folder)
        for path, template in files.items():
            _write_one(os.path.join(folder, path), templates / template, words)
        open(os.path.join(folder, module, "py.typed"), "x").close()
    except FileExistsError as error:
        raise IOFailure(
            f"{folder} is already there",
            fix="choose another name or folder",
        ) from error
    except OSError as error:
        raise IOFailure(f"cannot write {folder}: {error.strerror}") from error
    return folder


def _words(kind: str, name: str) -> dict[str, str]:
    major, minor = __version__.split(".")[:2]
    module = f"multus_{kind}_{name.replace('-', '_')}"
    head, *rest = name.split("-")
    key = head + "".join(word.capitalize() for word in rest)
    return {
        "kind": kind,
        "name": name,
        "distribution": f"multus-{kind}-{name}",
        "module": module,
        "entry": f"{kind}-{name}",
        "key": key,
        "keys": f"multus.keys =\n    {key}File = {module}" if kind in _WITH_KEY else "",
        "version": f"{major}.{minor}",
        "next_version": f"{major}.{int(minor) + 1}",
    }


def _write_one(path: str, template: Traversable, words: dict[str, str]) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    text = Template(template.read_text(encoding="utf-8")).substitute(words)
    with open(path, "x", encoding="utf-8") as file:
        file.write(text.rstrip() + "\n")
