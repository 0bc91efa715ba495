"""Write a new plugin: an installable distribution whose tests pass at once.

Examples:
  multus new-plugin source inventory
  multus new-plugin observer audit --into ~/src
  cd multus-source-inventory && pip install -e '.[test]' && pytest

A source says which networks a container gets; an invoker attaches them; a merger answers the
runtime; an observer is told what happens.
"""

from __future__ import annotations

import argparse
import os
import re
from importlib import resources
from string import Template
from typing import TYPE_CHECKING

from multus import __version__
from multus.api.errors import InvalidConfig, IOFailure
from multus.cli import screen

if TYPE_CHECKING:
    from importlib.abc import Traversable

KINDS = ("source", "invoker", "merger", "observer")

#: Kinds whose template reads a configuration key of its own.
_WITH_KEY = ("source", "observer")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=KINDS, help="what the plugin does")
    parser.add_argument("name", help="lower-case letters, digits and '-', such as inventory")
    parser.add_argument("--into", metavar="FOLDER", default=".", help="where to (default: here)")


def run(arguments: argparse.Namespace) -> int:
    """Write the distribution and say what to do next."""
    folder = write(arguments.kind, arguments.name, os.path.expanduser(arguments.into))
    screen.say(f"wrote {folder}:")
    for parent, _, names in sorted(os.walk(folder)):
        for name in sorted(names):
            screen.say(f"  {os.path.relpath(os.path.join(parent, name), folder)}")
    steps = ("", "next:", f"  cd {folder}", "  pip install -e '.[test]'", "  pytest")
    for line in (*steps, "  multus plugins"):
        screen.say(line)
    return 0


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
    templates = resources.files("multus") / "templates" / "plugin"
    module = f"src/{words['module']}"
    files = {
        "pyproject.toml": templates / "common" / "pyproject.toml.tmpl",
        "setup.cfg": templates / "common" / "setup.cfg.tmpl",
        "README.md": templates / kind / "README.md.tmpl",
        f"{module}/__init__.py": templates / kind / "plugin.py.tmpl",
        f"tests/test_{words['module']}.py": templates / kind / "test_plugin.py.tmpl",
    }
    try:
        os.makedirs(folder)
        for path, template in files.items():
            _write_one(os.path.join(folder, path), template, words)
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
        "extra": "[netlink]" if kind == "invoker" else "",
        "version": f"{major}.{minor}",
        "next_version": f"{major}.{int(minor) + 1}",
    }


def _write_one(path: str, template: Traversable, words: dict[str, str]) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    text = Template(template.read_text(encoding="utf-8")).substitute(words)
    with open(path, "x", encoding="utf-8") as file:
        file.write(text.rstrip() + "\n")
