"""Plugins with the same name, and plugins that own the same configuration key, are refused."""

from __future__ import annotations

import pytest
from unit.registry.site import Site, names
from unit.values import conf_of

from multus.api.errors import InvalidConfig
from multus.engine import parse
from multus.registry.clashes import Clash
from multus.registry.loading import Installed, load

OBSERVER = """
from multus import hookimpl

@hookimpl
def multus_finished(outcome): ...
"""


def refusal(installed: Installed, **keys: object) -> str:
    """The error of an ADD with these keys; "" when it is served."""
    try:
        parse.validate(conf_of(**keys), installed)
    except InvalidConfig as error:
        return str(error)
    return ""


class TestNames:
    def two(self, site: Site, *sources: str) -> None:
        for name, source in zip(("theirs", "ours"), sources or ("", ""), strict=True):
            site.install(name, *([source] if source else []), plugin="source-x")

    def test_both_are_found_and_loaded(self, site: Site) -> None:
        self.two(site)
        installed = site.loaded()
        assert names(installed.loaded) == ["source-x", "source-x"]
        asked = [each.plugin_name for each in installed.hooks.implementations("multus_health")]
        assert asked == ["source-x of multus-ours", "source-x of multus-theirs"]

    def test_requests_are_refused_with_both_and_what_to_do(self, site: Site) -> None:
        self.two(site)
        said = refusal(site.loaded())
        for words in (
            "plugin 'source-x' of multus-ours 1.0 and plugin 'source-x' of multus-theirs 1.0",
            "have the same name",
            "uninstall all but one of them, or name multus-ours or multus-theirs in 'blockedPlug",
        ):
            assert words in said

    @pytest.mark.parametrize("blocked", ["multus-ours", "multus-theirs"])
    def test_blocking_one_distribution_settles_it(self, site: Site, blocked: str) -> None:
        self.two(site)
        installed = site.loaded(blocked)
        assert (len(installed.loaded), installed.clashes) == (1, ())
        assert refusal(installed) == ""

    def test_blocking_the_name_blocks_both(self, site: Site) -> None:
        self.two(site)
        assert len(site.loaded("source-x").blocked) == 2

    def test_a_distribution_that_cannot_be_blocked_alone_is_not_named(self, site: Site) -> None:
        """Its name is also that of the other's plugin."""
        site.install("x", plugin="multus-x")
        site.install("y", plugin="multus-x")
        (clash,) = site.loaded().clashes
        assert "multus-y in 'blockedPlugins'" in clash.fix
        assert "or name multus-x" not in clash.fix

    def test_observers_are_reported_and_refuse_nothing(self, site: Site) -> None:
        self.two(site, OBSERVER, OBSERVER)
        installed = site.loaded()
        assert len(installed.clashes) == 1
        assert refusal(installed) == ""

    def test_one_that_cannot_be_loaded_may_have_been_a_source(self, site: Site) -> None:
        self.two(site, OBSERVER, "import no_such_module")
        assert "have the same name" in refusal(site.loaded())

    def test_one_that_takes_no_part_does_not_matter(self, site: Site) -> None:
        site.install("ours", plugin="source-x", only_with=("inventory",))
        site.install("theirs", plugin="source-x")
        assert refusal(load(site.discover(), keys=["name"])) == ""
        with_key = load(site.discover(), keys=["inventory"])
        assert "have the same name" in refusal(with_key, inventory="/x")

    def test_two_entry_points_of_one_distribution_clash_too(self, site: Site) -> None:
        site.install("ours", points="[multus]\nx = its_ours\nx = its_theirs\n")
        site.install("theirs", points="")
        (clash,) = site.loaded().clashes
        assert clash.fix == "uninstall all but one of them"

    def test_a_distribution_that_is_installed_twice_counts_once(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site.install("good", version="1.0")
        before = Site(site.folder.parent / "before", site.index)
        before.folder.mkdir()
        monkeypatch.syspath_prepend(str(before.folder))
        before.install("good", version="2.0")
        found = [each for each in before.discover() if each.name == "good"]
        assert [each.version for each in found] == ["2.0"]
        assert site.loaded().clashes == ()


class TestKeys:
    def test_two_owners_fail_the_requests_with_the_key(self, site: Site) -> None:
        site.install("a", keys=("inventory",))
        site.install("b", keys=("inventory", "colour"))
        installed = site.loaded()
        assert refusal(installed, colour="red") == ""
        said = refusal(installed, inventory="/x")
        for words in ("'a' of multus-a", "'b' of multus-b", "own the same configuration key"):
            assert words in said
        assert refusal(site.loaded("multus-b"), inventory="/x") == ""

    def test_one_who_shares_what_another_owns(self, site: Site) -> None:
        site.install("a", keys=("inventory",))
        site.install("b", shared_keys=("inventory",))
        said = refusal(site.loaded(), inventory="/x")
        assert "plugins that share a key on purpose list it in 'multus.shared_keys'" in said

    def test_a_key_that_all_plugins_share_has_no_owner(self, site: Site) -> None:
        for name in ("a", "b", "c"):
            site.install(name, shared_keys=("cluster",))
        assert site.loaded().clashes == ()

    def test_a_plugin_that_cannot_be_loaded_is_reported_first(self, site: Site) -> None:
        site.install("a", "import no_such_module", keys=("inventory",))
        site.install("b", keys=("inventory",))
        installed = site.loaded()
        assert not isinstance(installed.refusal(["inventory"]), Clash)
        assert len(installed.clashes) == 1
