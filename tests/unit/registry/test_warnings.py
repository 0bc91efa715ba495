"""Probable mistakes in a plugin are found, with a fix."""

from __future__ import annotations

import pytest
from unit.registry.site import GOOD, Site

from multus.registry.index import discover
from multus.registry.loading import load
from multus.registry.warnings import warnings_of

UNMARKED = """
from multus import hookimpl

@hookimpl
def multus_health(conf): ...

def multus_select(request, conf): ...
"""

HELPERS = """
from multus import hookimpl
from its_other import multus_validate
import multus_no_plugin

@hookimpl
def multus_health(conf): ...

def multus_x(): ...

multus_selected = 5
"""

OTHER = """
from multus import hookimpl

@hookimpl
def multus_validate(conf): ...
"""


def said(site: Site) -> list[str]:
    return [f"{each}: {each.fix}" for each in warnings_of(site.loaded())]


def test_a_sound_plugin_has_none(site: Site) -> None:
    site.install("good", keys=("inventory",), only_with=("inventory",))
    assert said(site) == []


def test_a_hook_without_its_mark(site: Site) -> None:
    site.install("bad", UNMARKED)
    (line,) = said(site)
    assert "plugin 'bad' of multus-bad 1.0: its function multus_select is not marked" in line
    assert line.endswith("write @hookimpl above it in its_bad")


@pytest.mark.parametrize("name", ["multus_selct", "multus_resolv", "multus_merged"])
def test_a_misspelt_hook_without_its_mark(site: Site, name: str) -> None:
    site.install("bad", f"{GOOD}\ndef {name}(): ...\n")
    (line,) = said(site)
    assert f"there is no hook {name}" in line and "did you mean multus_" in line


def test_a_module_without_any_hook(site: Site) -> None:
    site.install("bad", "class Plugin: ...")
    (line,) = said(site)
    assert "implements no hook" in line


def test_an_entry_point_that_names_an_object(site: Site) -> None:
    site.install("bad", points="[multus]\nbad = its_bad:plugin\n")
    (line,) = said(site)
    assert "names the object its_bad:plugin" in line
    assert line.endswith("write 'bad = its_bad'")


@pytest.mark.parametrize("group", ["keys", "shared_keys", "only_with"])
def test_a_key_for_a_module_that_is_not_a_plugins(site: Site, group: str) -> None:
    points = f"[multus]\nbad = its_bad\n\n[multus.{group}]\ninventory = its_bda\n"
    site.install("bad", points=points)
    (line,) = said(site)
    assert "'inventory = its_bda'" in line
    assert line.endswith("as in 'inventory = its_bad'")


def test_what_only_looks_like_a_hook_is_left_alone(site: Site) -> None:
    site.install("other", OTHER)
    (site.folder / "multus_no_plugin.py").write_text("")
    site.install("good", HELPERS)
    assert said(site) == []


def test_our_own_plugins_have_none() -> None:
    installed = load(discover())
    assert [str(each) for each in warnings_of(installed)] == []
    assert installed.clashes == ()
