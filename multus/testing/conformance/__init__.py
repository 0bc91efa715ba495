"""The conformance suite: tests that every plugin has to pass, run on an installed plugin.

``multus conformance PLUGIN`` runs it, and so does ``run`` in a test.  A plugin's input is in a
*sample*, a JSON file:

* ``conf``: keys of Multus' configuration that activate the plugin;
* ``away``: the same, but with an unreachable service (sources, devices, observers);
* ``objects``: Kubernetes objects (JSON), which an API server serves during each test; the requests
  are for the first ``Pod`` among them;
* ``plugin``: for an invoker, a plugin's configuration that it carries out.  The node of the test
  has one interface, ``uplink``, on which a macvlan can be made;
* ``chain``: the plugins that precede it in its network's chain, for one that needs them;
* ``leavesShared``: true for an invoker that leaves on the node what all containers share, such as a
  bridge: what is left is compared with the node after a first container came and went;
* ``card``: for an invoker, the name of an interface: the node gets a stand-in for an SR-IOV card of
  that name (``multus.testing.sriov``);
* ``files``: files of the node that the plugin reads: the content by path below ``@TMP@``;
* ``takesAll``: true for an invoker that accepts every type.

In any string, a word between two ``@`` is replaced with a path:

* ``@TMP@``: a temporary folder of this test;
* ``@KUBECONFIG@``: a kubeconfig for the API server with the ``objects``;
* ``@NOWHERE@``: one for a server that refuses connections;
* ``@SILENT@``: one for a server that accepts connections and never answers.

The last three exist when the sample has ``objects``, even an empty list.  Example for a source that
reads pods and definitions::

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

#: pytest rewrites assertions of distributions with pytest plugins, such as Multus, and warns about
#: modules that are already imported; here that is the program itself.
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
