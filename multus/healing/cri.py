"""The container runtime's list of sandboxes, by the Container Runtime Interface.

Source: kubernetes k8s.io/cri-api/pkg/apis/runtime/v1 (api.proto): ``ListPodSandboxResponse.items``,
field 1, ``PodSandbox.id``, field 1.
"""

from __future__ import annotations

from multus.api.errors import MissingPlugin, TryAgainLater
from multus.api.kubernetes import Deadline
from multus.api.progress import step

_METHOD = "/runtime.v1.RuntimeService/ListPodSandbox"
#: How long the runtime may take, in seconds.
_PATIENCE = 10.0


def sandboxes(path: str) -> frozenset[str]:
    """The IDs of all sandboxes, also of those that are not ready; raises ``TryAgainLater``.

    Raises ``MissingPlugin`` without h2.
    """
    from multus.api.grpc import CallFailed, call, messages_of, text_of

    try:
        with step("the container runtime", _PATIENCE + 5.0, waits=True):
            listed = call(path, _METHOD, Deadline.after(_PATIENCE))
        return frozenset(text_of(each, 1) for each in messages_of(listed, 1))
    except ImportError as error:
        raise MissingPlugin(
            f"asking the runtime needs h2 ({error})", fix="pip install 'multus[daemon]'"
        ) from error
    except (CallFailed, ValueError, IndexError) as error:
        raise TryAgainLater(
            f"the runtime's sandboxes cannot be read from {path}: {error}",
            fix="name its CRI socket, and check that it runs",
        ) from error
