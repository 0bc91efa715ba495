"""The conformance suite: tests that every plugin has to pass, run against one that is installed.

``multus conformance PLUGIN`` runs it; so does ``run`` from a test.  What a plugin needs to show its
work is in a *sample*, a JSON file:

* ``conf``: keys of Multus' configuration with which the plugin does something;
* ``away``: the same, while the service that the plugin asks cannot be reached (sources, observers);
* ``objects``: Kubernetes objects in their wire form, which an API server serves during each test;
  the requests are for the first ``Pod`` among them;
* ``plugin``: for an invoker, a plugin's configuration that it carries out.  The node of the test
  has one interface, ``uplink``, on which a macvlan can be made;
* ``card``: for an invoker, the name of an interface: the node has a stand-in for a card with
  virtual functions of that name (``multus.testing.sriov``);
* ``takesAll``: true for an invoker that takes every type.

In any string of it, a word between two ``@`` stands for a path:

* ``@TMP@``: a folder that only this test has;
* ``@KUBECONFIG@``: a kubeconfig for the API server with the ``objects``;
* ``@NOWHERE@``: one for a server that refuses connections;
* ``@SILENT@``: one for a server that accepts connections and never answers.

The last three exist when the sample has ``objects``, even an empty list.  A source of
networks that reads pods and definitions has for instance ::

    {
      "objects": [
        {"apiVersion": "v1", "kind": "Pod",
         "metadata": {"name": "web", "annotations": {"example.org/networks": "storage"}}},
        {"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
         "metadata": {"name": "storage"}, "spec": {"config": "{\\"type\\": \\"macvlan\\"}"}}
      ],
      "conf": {"kubeconfig": "@KUBECONFIG@"},
      "away": {"kubeconfig": "@NOWHERE@"}
    }
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import field, frozen

from multus.api.errors import InvalidConfig, MissingPlugin
from multus.registry.entry import Entry
from multus.registry.hooks import OBSERVING
from multus.registry.index import discover
from multus.registry.loading import Installed, load
from multus.testing.conformance.cluster import PLACES

#: Hooks by the kind of plugin that they make.
KINDS: Mapping[str, frozenset[str]] = {
    "source": frozenset({"multus_select", "multus_resolve"}),
    "invoker": frozenset({"multus_invoker"}),
    "merger": frozenset({"multus_merge"}),
    "observer": OBSERVING,
}


#: pytest rewrites the assertions of distributions that bring plugins for it, as Multus does, and
#: warns of modules that were imported before; here that is the program itself.
_IMPORTED = "Module already imported so cannot be rewritten"


@frozen
class Sample:
    """How a plugin shows its work; see the module."""

    conf: Mapping[str, Any] = field(factory=dict)
    away: Mapping[str, Any] | None = None
    objects: Sequence[Mapping[str, Any]] | None = None
    plugin: Mapping[str, Any] | None = None
    card: str = ""
    takes_all: bool = False

    @classmethod
    def load(cls, path: str | None, folder: str) -> Sample:
        """Read the file at *path* (None: an empty sample); *folder* takes the place of @TMP@."""
        if path is None:
            return cls()
        with open(path, encoding="utf-8") as file:
            text = file.read().replace("@TMP@", folder)
        for word, place in PLACES.items():
            text = text.replace(word, os.path.join(folder, place))
        raw = json.loads(text)
        return cls(
            conf=raw.get("conf", {}),
            away=raw.get("away"),
            objects=raw.get("objects"),
            plugin=raw.get("plugin"),
            card=raw.get("card", ""),
            takes_all=bool(raw.get("takesAll")),
        )


@frozen
class Subject:
    """The plugin under test: loaded alone, and together with all others."""

    entry: Entry
    alone: Installed
    together: Installed

    @classmethod
    def find(cls, name: str) -> Subject:
        """The installed plugin *name*; raises ``MissingPlugin``, and ``InvalidConfig`` for two."""
        entries = discover()
        known = [each for each in entries if each.name == name]
        if not known:
            names = ", ".join(each.name for each in entries)
            raise MissingPlugin(f"no plugin {name!r} is installed: there are {names}")
        if len(known) > 1:
            several = " and ".join(map(str, known))
            raise InvalidConfig(f"{several} have the same name: uninstall all but one of them")
        return cls(known[0], load(known), load(entries))

    @property
    def hooks(self) -> frozenset[str]:
        """The names of the hooks that it implements."""
        module = self.alone.modules.get(self.entry.name)
        found = vars(module).items() if module else ()
        return frozenset(name for name, value in found if hasattr(value, "multus_impl"))

    @property
    def kinds(self) -> frozenset[str]:
        """What it is: one or several of ``KINDS``."""
        return frozenset(kind for kind, hooks in KINDS.items() if hooks & self.hooks)


def run(name: str, sample: str | None = None, extra: Sequence[str] = ()) -> int:
    """Run the suite against plugin *name*; returns pytest's exit status.

    *sample* is the path of a sample file, *extra* goes to pytest.
    """
    import pytest

    from multus.testing.conformance.given import Given

    subject = Subject.find(name)
    folder = os.path.dirname(os.path.abspath(__file__))
    files = ["test_every_plugin.py", *(f"test_{kind}.py" for kind in sorted(subject.kinds))]
    options = ["-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", folder, "-rs"]
    options += ["-W", f"ignore:{_IMPORTED}:pytest.PytestAssertRewriteWarning"]
    paths = [os.path.join(folder, file) for file in files]
    return int(pytest.main([*options, *extra, *paths], plugins=[Given(subject, sample)]))
