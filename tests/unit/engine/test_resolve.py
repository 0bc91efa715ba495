from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from contract.given import at_work, plugin_named
from hypothesis import given
from hypothesis import strategies as st
from unit.values import conf_of, request_of

from multus.api.errors import InvalidConfig, MissingPlugin
from multus.api.keys import NUMBER, PATH, Key
from multus.api.network import Element, Role, Selection
from multus.engine.resolve import missing_plugin, resolve
from multus.registry.entry import Entry
from multus.registry.loading import Broken, Installed
from multus.testing.session import new_session

ALWAYS = {"always_use_default": True}


def selection(role: Role, *names: str, naming: str = "npwg", **config: Any) -> Selection:
    elements = tuple(
        Element(name, f"the test's {name}", config={"type": name, "name": name, **config})
        for name in names
    )
    return Selection(role, elements, f"{role.value} source", naming)


def marked(role: Role, *names: str, primary: str) -> Selection:
    elements = tuple(
        Element(name, "", config={"type": name, "name": name, "masterplugin": name == primary})
        for name in names
    )
    return Selection(role, elements, f"{role.value} source")


def selecting(*selections: Selection) -> Installed:
    """Installed sources, one for each selection."""

    def source(each: Selection) -> Callable[[], Selection]:
        def multus_select() -> Selection:
            return each

        return multus_select

    def multus_keys() -> list[Key]:
        return [
            Key("kubeconfig", PATH, "Pods choose.", selects=True),
            Key("apiTimeout", NUMBER, ""),
        ]

    sources = (plugin_named(f"s{i}", source(each)) for i, each in enumerate(selections))
    return at_work(plugin_named("keys", multus_keys), *sources)


def resolved(*selections: Selection, **keys: Any) -> tuple[list[str], str, str]:
    """The networks in order, the primary, and the convention of names."""
    result = resolve(selecting(*selections), request_of(), conf_of(**keys), new_session())
    primaries = [each.name for each in result.delegates if each.primary]
    assert len(primaries) == 1
    return [each.name for each in result.delegates], primaries[0], result.naming


DEFAULTS = selection(Role.DEFAULT, "d1", "d2", naming="seed")
INSTEAD = selection(Role.INSTEAD, "p1", "p2", naming="seed")
ADDED = selection(Role.ADDED, "a1", "a2")
EXCHANGED = selection(Role.EXCHANGED, "x")
LAST = selection(Role.LAST, "l")


class TestRules:
    def test_nobody_asks(self) -> None:
        assert resolved(DEFAULTS) == (["d1", "d2"], "d1", "seed")

    def test_instead_of_the_defaults(self) -> None:
        assert resolved(DEFAULTS, INSTEAD) == (["p1", "p2"], "p1", "seed")
        assert resolved(INSTEAD) == (["p1", "p2"], "p1", "seed")

    def test_instead_with_the_defaults_kept(self) -> None:
        assert resolved(DEFAULTS, INSTEAD, **ALWAYS) == (["d1", "d2", "p1", "p2"], "d1", "seed")
        kept = marked(Role.DEFAULT, "d1", "d2", primary="d2")
        assert resolved(kept, INSTEAD, **ALWAYS)[1] == "d2"

    def test_added_to_the_defaults(self) -> None:
        assert resolved(DEFAULTS, ADDED) == (["d1", "d2", "a1", "a2"], "d1", "npwg")

    def test_added_to_nothing(self) -> None:
        assert resolved(ADDED) == (["a1", "a2"], "a1", "npwg")

    def test_exchanged_for_the_first_default(self) -> None:
        assert resolved(DEFAULTS, EXCHANGED, ADDED) == (["x", "d2", "a1", "a2"], "x", "npwg")
        assert resolved(EXCHANGED) == (["x"], "x", "npwg")

    def test_exchanged_for_the_default_that_would_be_the_primary(self) -> None:
        defaults = marked(Role.DEFAULT, "d1", "d2", "d3", primary="d2")
        assert resolved(defaults, EXCHANGED) == (["x", "d1", "d3"], "x", "npwg")

    @pytest.mark.parametrize("before", [(), (ADDED,), (INSTEAD,), (EXCHANGED, ADDED)])
    def test_last_whatever_the_others_are(self, before: Sequence[Selection]) -> None:
        names, primary, naming = resolved(DEFAULTS, *before)
        assert resolved(LAST, DEFAULTS, *before) == ([*names, "l"], primary, naming)

    def test_delegates_say_whether_they_are_last(self) -> None:
        found = resolve(selecting(LAST, DEFAULTS), request_of(), conf_of(), new_session())
        assert [(each.name, each.last) for each in found.delegates] == [
            ("d1", False),
            ("d2", False),
            ("l", True),
        ]

    def test_last_alone_is_nothing(self) -> None:
        with pytest.raises(InvalidConfig, match="no network is selected"):
            resolved(LAST)

    def test_several_sources_offer_defaults(self) -> None:
        more = selection(Role.DEFAULT, "e")
        assert resolved(DEFAULTS, more)[0] == ["d1", "d2", "e"]

    @pytest.mark.parametrize(
        "selections",
        [(INSTEAD, ADDED), (INSTEAD, EXCHANGED), (INSTEAD, INSTEAD), (EXCHANGED, EXCHANGED)],
    )
    def test_what_excludes_each_other_is_refused_with_both_origins(
        self, selections: Sequence[Selection]
    ) -> None:
        with pytest.raises(InvalidConfig) as caught:
            resolved(DEFAULTS, *selections)
        for each in selections:
            assert each.origin in caught.value.msg


class TestPrimary:
    @given(st.integers(min_value=0, max_value=3))
    def test_is_the_marked_default_wherever_it_stands(self, place: int) -> None:
        names = ["a", "b", "c", "d"]
        defaults = marked(Role.DEFAULT, *names, primary=names[place])
        assert resolved(defaults)[1] == names[place]

    def test_is_never_marked_twice(self) -> None:
        twice = selection(Role.DEFAULT, "a", "b", masterplugin=True)
        with pytest.raises(InvalidConfig, match="only one delegate can have 'masterplugin'"):
            resolved(twice)

    def test_a_mark_of_what_the_pod_asks_for_does_not_count(self) -> None:
        asked = marked(Role.ADDED, "a", "b", primary="b")
        assert resolved(DEFAULTS, asked)[1] == "d1"
        assert resolved(marked(Role.INSTEAD, "p", "q", primary="q"))[1] == "p"


class TestNaming:
    def test_is_as_the_pods_choice_has_it(self) -> None:
        assert resolved(DEFAULTS, ADDED)[2] == "npwg"
        assert resolved(selection(Role.DEFAULT, "d"), INSTEAD)[2] == "seed"

    @pytest.mark.parametrize("naming", ["seed", "npwg"])
    def test_is_as_the_configuration_says(self, naming: str) -> None:
        assert resolved(DEFAULTS, naming=naming)[2] == naming


def test_a_delegate_knows_who_asked_and_what_for() -> None:
    config = {"type": "fake", "name": "net"}
    element = Element("net", "x", "source", "shop", "north", config, {"mac": "02:00:00:00:00:01"})
    asked = Selection(Role.ADDED, (element,), "x")
    default = selection(Role.DEFAULT, "d")
    first, second = resolve(
        selecting(default, asked), request_of(), conf_of(), new_session()
    ).delegates
    assert (first.default, second.default) == (True, False)
    assert (second.source, second.requested_ifname) == ("source", "north")
    assert second.options == {"mac": "02:00:00:00:00:01"}


class TestNothing:
    STATUS = request_of("STATUS", container_id="")
    POD = request_of(args={"K8S_POD_NAME": "web", "K8S_POD_NAMESPACE": "shop"})

    def test_selected_is_the_old_message(self) -> None:
        with pytest.raises(InvalidConfig, match="delegates or kubeconfig option is must"):
            resolve(
                selecting(Selection(Role.DEFAULT, (), "x")), request_of(), conf_of(), new_session()
            )

    def test_for_a_pod_says_what_to_do(self) -> None:
        installed = selecting(Selection(Role.DEFAULT, (), "x"))
        with pytest.raises(InvalidConfig, match=r"pod shop/web asks for no network.*annotate"):
            resolve(installed, self.POD, conf_of(kubeconfig="/k"), new_session())

    def test_without_a_source_says_what_to_install(self) -> None:
        with pytest.raises(InvalidConfig, match="install multus-source-conffile"):
            resolve(at_work(), request_of(), conf_of(), new_session())

    def test_a_status_of_a_node_whose_pods_choose_is_well(self) -> None:
        installed = selecting(Selection(Role.DEFAULT, (), "x"))
        found = resolve(installed, self.STATUS, conf_of(kubeconfig="/k"), new_session())
        assert found.delegates == ()
        for keys in ({}, {"kubeconfig": ""}, {"apiTimeout": 3}):
            with pytest.raises(InvalidConfig):
                resolve(installed, self.STATUS, conf_of(**keys), new_session())


class TestMissingPlugin:
    ENTRY = Entry("merger-all", "m", "multus-merger-all", "1.0")

    def said(self, **state: Any) -> str:
        installed = Installed(at_work().hooks, (), **state)
        return str(missing_plugin("merges", "multus-merger-all", installed))

    def test_is_to_be_installed(self) -> None:
        assert self.said() == "no installed plugin merges: install multus-merger-all"

    def test_is_to_be_mended_when_it_is_broken(self) -> None:
        said = self.said(broken=(Broken(self.ENTRY, "ImportError: x"),))
        assert "ImportError: x" in said and "reinstall multus-merger-all" in said

    def test_is_to_be_unblocked_when_it_is_blocked(self) -> None:
        assert "'blockedPlugins' names it" in self.said(blocked=(self.ENTRY,))

    def test_says_what_else_is_broken(self) -> None:
        other = Entry("x", "x", "multus-x", "1.0")
        error = missing_plugin(
            "merges", "multus-merger-all", Installed(at_work().hooks, (), (Broken(other, "odd"),))
        )
        assert isinstance(error, MissingPlugin)
        assert error.details == "plugin 'x' of multus-x 1.0: odd"


@pytest.mark.parametrize(
    ("given", "added"),
    [
        ({}, {}),
        ({"IgnoreUnknown": "0", "K8S_POD_NAME": "web"}, {}),
        ({"K8S_POD_NAME": "web"}, {"IgnoreUnknown": "true"}),
    ],
)
def test_delegates_may_ignore_arguments_that_they_do_not_know(
    given: dict[str, str], added: dict[str, str]
) -> None:
    sources = selecting(selection(Role.DEFAULT, "a"))
    (delegate,) = resolve(sources, request_of(args=given), conf_of(), new_session()).delegates
    assert delegate.args == added
