"""A request: one CNI call as the runtime made it."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from multus.api.frozen import EMPTY, frozen_mapping

#: The variable of a started plugin's environment that holds the container's ID.  A call of Multus
#: that has it comes from one of its own plugins.
WITHIN = "MULTUS_WITHIN"


@frozen
class Pod:
    """The pod that a request is for, as ``CNI_ARGS`` names it."""

    namespace: str
    name: str
    uid: str = ""
    infra_container_id: str = ""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@frozen
class Request:
    """One CNI call, read-only.  The ``Session`` has the resources to serve it.

    ``environ`` is the caller's whole environment, which delegates inherit (CNI 1.1, "Plugin
    Delegation"); ``args`` is the parsed ``CNI_ARGS``, to which a network may add
    (``Invocation.args``); ``path`` is ``CNI_PATH``.  ``dry_run``: the request is not executed,
    because ``multus explain`` or ``multus validate`` asks what an ADD would do.  A plugin answers a
    dry run at once, from the current state, and does not wait.
    """

    command: str
    container_id: str = ""
    netns: str = ""
    ifname: str = ""
    path: tuple[str, ...] = ()
    args: Mapping[str, str] = field(default=EMPTY, converter=frozen_mapping)
    environ: Mapping[str, str] = field(default=EMPTY, converter=frozen_mapping, repr=False)
    dry_run: bool = False

    @property
    def pod(self) -> Pod | None:
        """The pod; None without one, also for podman, which passes a name without a namespace."""
        name, namespace = self.args.get("K8S_POD_NAME"), self.args.get("K8S_POD_NAMESPACE")
        if not name or not namespace:
            return None
        return Pod(
            namespace=namespace,
            name=name,
            uid=self.args.get("K8S_POD_UID", ""),
            infra_container_id=self.args.get("K8S_POD_INFRA_CONTAINER_ID", ""),
        )

    @property
    def pod_label(self) -> str:
        """The pod for people: namespace/name, for podman the name alone; "" without a pod."""
        return str(self.pod or self.args.get("K8S_POD_NAME", ""))

    def __str__(self) -> str:
        of = f" of pod {self.pod_label}" if self.pod_label else ""
        return f"container {self.container_id or '(none)'}{of}"


def parse_args(text: str) -> dict[str, str]:
    """Parse ``CNI_ARGS``: ``KEY=VALUE;…``.  Raises ``ValueError`` for another form."""
    pairs = [part for part in text.split(";") if part]
    wrong = next((pair for pair in pairs if "=" not in pair), None)
    if wrong is not None:
        raise ValueError(f"{wrong!r} is not KEY=VALUE")
    return dict(pair.split("=", 1) for pair in pairs)
