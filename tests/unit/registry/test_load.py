"""Loading plugins: blocked and broken ones."""

from __future__ import annotations

import sys

import pytest
from contract.given import plugin_of
from unit.registry.site import GOOD, Site, names
from unit.values import conf_of

from multus.registry.loading import Broken, load, relevant_keys


class TestLoading:
    def test_a_good_one_is_at_work(self, site: Site) -> None:
        site.install("good")
        installed = site.loaded()
        assert names(installed.loaded) == ["good"]
        assert installed.modules["good"].__name__ == "its_good"
        at_work = installed.hooks.implementations("multus_health")
        assert [each.plugin_name for each in at_work] == ["good"]

    def test_a_blocked_one_is_not_even_imported(self, site: Site) -> None:
        site.install("good")
        site.install("loud", f"open({str(site.folder / 'was-here')!r}, 'w')")
        installed = site.loaded("loud")
        assert (names(installed.loaded), names(installed.blocked)) == (["good"], ["loud"])
        assert not (site.folder / "was-here").exists()

    @pytest.mark.parametrize("name", ["loud-one", "multus-loud-one", "Multus_Loud.One", "LOUD_ONE"])
    def test_it_may_be_named_by_its_distribution_too(self, site: Site, name: str) -> None:
        site.install("good")
        site.install("loud-one", "raise ValueError")
        installed = site.loaded(name)
        assert (names(installed.blocked), installed.broken) == (["loud-one"], ())
        assert installed.unmatched([name]) == []

    def test_a_name_that_none_has_is_found(self, site: Site) -> None:
        site.install("good")
        site.install("bad", "raise ValueError")
        site.install("blocked")
        site.install("keyed", only_with=("inventory",))
        installed = load(site.discover(), frozenset(["blocked", "lost"]), ["name"])
        every = ["good", "bad", "blocked", "keyed", "multus-good", "lost", "multus-lost"]
        assert installed.unmatched(every) == ["lost", "multus-lost"]

    BROKEN = {
        "ModuleNotFoundError": "import no_such_module",
        "its_bad": None,
        "SyntaxError": "def (",
        "ValueError: out of paper": "raise ValueError('out of paper')",
        "SystemExit": "raise SystemExit(3)",
        "Abandoned: stop": "class Abandoned(BaseException): ...\nraise Abandoned('stop')",
        "there is no hook 'multus_heath'": """
            from multus import hookimpl
            @hookimpl
            def multus_heath(conf): ...
        """,
        "Argument(s) {'colour'}": """
            from multus import hookimpl
            @hookimpl
            def multus_health(conf, colour): ...
        """,
        "HOOK_API 99": """
            from multus import hookimpl
            HOOK_API = 99
            @hookimpl
            def multus_health(conf): ...
        """,
        "no hook may be a wrapper": """
            from multus import hookimpl
            @hookimpl(wrapper=True)
            def multus_health(conf):
                return (yield)
        """,
    }

    @pytest.mark.parametrize("reason", BROKEN)
    def test_a_broken_plugin_is_reported_with_its_distribution_and_the_others_load(
        self, site: Site, reason: str
    ) -> None:
        site.install("bad", self.BROKEN[reason], version="0.7")
        site.install("good")
        installed = site.loaded()
        assert names(installed.loaded) == ["good"]
        (broken,) = installed.broken
        assert str(broken).startswith("plugin 'bad' of multus-bad 0.7: ")
        assert reason in str(broken)
        hooks = [each.plugin_name for each in installed.hooks.implementations("multus_health")]
        assert hooks == ["good"]

    def test_one_that_says_our_api_is_loaded(self, site: Site) -> None:
        site.install("good", f"HOOK_API = 1\n{GOOD}")
        assert names(site.loaded().loaded) == ["good"]

    def test_a_request_needs_the_owner_of_its_keys(self, site: Site) -> None:
        site.install("bad", "import no_such_module", keys=("inventory",))
        installed = site.loaded()
        assert installed.refusal({"name": "n"}) is None
        broken = installed.refusal({"name": "n", "inventory": "/x"})
        assert isinstance(broken, Broken) and broken.entry.name == "bad"


class TestTakingPart:
    """A plugin with ``only_with`` keys takes part only in requests with one of them."""

    def test_only_what_says_so_is_left_out(self, site: Site) -> None:
        """A configuration may omit a key that a plugin reads."""
        site.install("plain")
        site.install("reader", keys=("colour",), shared_keys=("kubeconfig",))
        site.install("silent", only_with=("inventory", "cluster"))
        installed = load(site.discover(), keys=["name"])
        assert names(installed.loaded) == ["plain", "reader"]
        assert names(installed.not_loaded) == ["silent"]
        assert "its_silent" not in sys.modules

    @pytest.mark.parametrize("key", ["inventory", "cluster"])
    def test_one_of_its_keys_is_enough(self, site: Site, key: str) -> None:
        site.install("silent", only_with=("inventory", "cluster"))
        assert names(load(site.discover(), keys=[key]).loaded) == ["silent"]

    @pytest.mark.parametrize("command", ["DEL", "GC", "CHECK"])
    def test_what_undoes_an_add_has_all_plugins(self, site: Site, command: str) -> None:
        site.install("silent", only_with=("inventory",))
        keys = relevant_keys(command, conf_of())
        assert names(load(site.discover(), keys=keys).loaded) == ["silent"]

    @pytest.mark.parametrize("command", ["ADD", "STATUS"])
    def test_what_attaches_has_those_that_the_configuration_wants(
        self, site: Site, command: str
    ) -> None:
        site.install("silent", only_with=("inventory",))
        keys = relevant_keys(command, conf_of())
        assert load(site.discover(), keys=keys).loaded == ()

    def test_a_part_can_be_chosen_again_for_another_configuration(self, site: Site) -> None:
        site.install("a", only_with=("inventory",))
        site.install("b")
        every = site.loaded()
        assert names(every.taking_part(conf_of()).loaded) == ["b"]
        blocking = conf_of(inventory="/x", blockedPlugins=["b"])
        assert names(every.taking_part(blocking).loaded) == ["a"]


def test_a_plugin_with_keys_and_without_hooks_cannot_be_used() -> None:
    """Its keys would be ignored, and a container would get fewer networks."""
    text = "def multus_select(): raise AssertionError"
    installed = load([plugin_of("unmarked", text, ["inventory"])])
    (broken,) = installed.broken
    assert "no hook" in broken.reason and "hookimpl" in broken.reason
    assert installed.refusal(["inventory"]) == broken
