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

import os
from collections.abc import Sequence

#: pytest rewrites the assertions of distributions that bring plugins for it, as Multus does, and
#: warns of modules that were imported before; here that is the program itself.
_IMPORTED = "Module already imported so cannot be rewritten"


def run(name: str, sample: str | None = None, extra: Sequence[str] = ()) -> int:
    """Run the suite against plugin *name*; returns pytest's exit status.

    *sample* is the path of a sample file, *extra* goes to pytest.
    """
    import pytest

    from multus.testing.conformance.given import Given
    from multus.testing.conformance.subject import Subject

    subject = Subject.find(name)
    folder = os.path.dirname(os.path.abspath(__file__))
    files = ["test_every_plugin.py", *(f"test_{kind}.py" for kind in sorted(subject.kinds))]
    options = ["-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", folder, "-rs"]
    options += ["-W", f"ignore:{_IMPORTED}:pytest.PytestAssertRewriteWarning"]
    paths = [os.path.join(folder, file) for file in files]
    return int(pytest.main([*options, *extra, *paths], plugins=[Given(subject, sample)]))
