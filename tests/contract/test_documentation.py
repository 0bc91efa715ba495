"""The generated pages are up to date and complete."""

from __future__ import annotations

import configparser
import importlib.util
import re
from types import ModuleType
from typing import cast

import pytest
from repository import ROOT, distributions, plugins

from multus.api.keys import MULTUS, Key
from multus.cli.upstream import known
from multus.registry.index import discover
from multus.registry.loading import Installed, load


@pytest.fixture(scope="module")
def installed() -> Installed:
    found = load(discover())
    lacking = plugins() - {entry.distribution for entry in found.loaded}
    if lacking:
        pytest.skip(f"not installed: {', '.join(sorted(lacking))}")
    return found


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "_generate.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["hooks.md", "configuration.md", "commands.md", "reference.md"])
def test_a_page_is_as_generated(generator: ModuleType, installed: Installed, page: str) -> None:
    written = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert generator.pages()[page] == written, "run python docs/_generate.py"


def test_every_key_that_is_taken_over_of_a_go_multus_is_on_the_page(
    generator: ModuleType, installed: Installed
) -> None:
    page = generator.pages()["configuration.md"]
    read = {known.CONF, known.DAEMON, known.BOTH, known.INSTALLER}
    names = [name for name, key in known.KEYS.items() if key.fate in read]
    assert [name for name in names if f"| `{name}` |" not in page] == []


def test_every_plugins_keys_are_those_of_its_distribution(installed: Installed) -> None:
    known = {
        each.plugin_name: cast("list[Key]", each.function())
        for each in installed.hooks.implementations("multus_keys")
    }
    everybodys = {key.name for key in installed.hooks.configuration_keys()}
    for entry in installed.loaded:
        if entry.distribution not in distributions():
            continue
        told = {key.name for key in known.get(entry.name, ()) if key.of == MULTUS}
        assert told <= set(entry.reads) <= everybodys, entry


def test_every_key_that_a_plugin_reads_is_declared(installed: Installed) -> None:
    told = {key.name for key in installed.hooks.configuration_keys()}
    for path in (*ROOT.glob("plugins/*/src/*/*.py"), *ROOT.glob("multus/kube/*.py")):
        text = path.read_text(encoding="utf-8")
        read = re.findall(r'conf\.(?:reader\.\w+|raw\.get)\(\s*"(\w+)"', text)
        assert set(read) <= told, path


def test_every_distribution_has_a_readme_that_says_how_to_install_it() -> None:
    for name in distributions():
        text = (ROOT / "plugins" / name / "README.md").read_text(encoding="utf-8")
        assert text.startswith(f"# {name}\n") and f"pip install {name}" in text
        setup = configparser.ConfigParser()
        setup.read(ROOT / "plugins" / name / "setup.cfg")
        assert setup["metadata"]["long_description"] == "file: README.md"
