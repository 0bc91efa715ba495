"""A request: one CNI call as the runtime made it."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from multus.api.frozen import EMPTY, frozen_mapping


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
    """One CNI call: what was asked, read-only.  What it may use is the ``Session``.

    ``environ`` is the caller's whole environment, which delegates inherit (CNI 1.1, "Plugin
    Delegation"); ``args`` is ``CNI_ARGS`` taken apart; ``path`` is ``CNI_PATH``.  ``dry_run`` says
    that the request is not carried out: ``multus explain`` and ``multus validate`` ask what an ADD
    would do.  A plugin answers such a request at once, from what is there now; it does not wait for
    what may still come.
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
        """The pod, or None: podman passes a name without a namespace, and then there is none."""
        name, namespace = self.args.get("K8S_POD_NAME"), self.args.get("K8S_POD_NAMESPACE")
        if not name or not namespace:
            return None
        return Pod(
            namespace=namespace,
            name=name,
            uid=self.args.get("K8S_POD_UID", ""),
            infra_container_id=self.args.get("K8S_POD_INFRA_CONTAINER_ID", ""),
        )

    def __str__(self) -> str:
        pod = self.pod
        of = f" of pod {pod}" if pod else ""
        return f"container {self.container_id or '(none)'}{of}"


def parse_args(text: str) -> dict[str, str]:
    """``CNI_ARGS`` taken apart: ``KEY=VALUE;…``.  Raises ``ValueError`` for another form."""
    pairs = [part for part in text.split(";") if part]
    wrong = next((pair for pair in pairs if "=" not in pair), None)
    if wrong is not None:
        raise ValueError(f"{wrong!r} is not KEY=VALUE")
    return dict(pair.split("=", 1) for pair in pairs)
