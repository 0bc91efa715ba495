"""Makes the node's kubeconfig from a pod's service account.

The kubeconfig is written once and names two files beside it, a token and the cluster's CA. The
kubelet renews the pod's token before it expires, so ``install --watch`` copies it again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from attrs import frozen

from multus.api.errors import InvalidConfig
from multus.cli.commands.install.files import contents

#: Where the kubelet mounts it.
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
NAME, TOKEN, AUTHORITY = "multus.kubeconfig", "token", "ca.crt"


@frozen
class Account:
    """A service account as mounted in a pod; ``server`` is the API server's URL."""

    server: str
    folder: str = SERVICE_ACCOUNT

    @classmethod
    def of_pod(cls, environ: Mapping[str, str], folder: str = SERVICE_ACCOUNT) -> Account | None:
        """The account of this process's pod; None outside of a pod."""
        host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT")
        if not host or not port or not os.path.isdir(folder):
            return None
        return cls(f"https://{f'[{host}]' if ':' in host else host}:{port}", folder)

    def files(self) -> dict[str, bytes]:
        """The kubeconfig and the files that it names, by file name; raises ``InvalidConfig``."""
        token = contents(os.path.join(self.folder, TOKEN))
        authority = contents(os.path.join(self.folder, AUTHORITY))
        if not token or not authority:
            missing = TOKEN if not token else AUTHORITY
            raise InvalidConfig(
                f"the service account in {self.folder} has no {missing}",
                fix="set automountServiceAccountToken for the pod",
            )
        wire = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "cluster",
                    "cluster": {"server": self.server, "certificate-authority": AUTHORITY},
                }
            ],
            "users": [{"name": "multus", "user": {"tokenFile": TOKEN}}],
            "contexts": [{"name": "multus", "context": {"cluster": "cluster", "user": "multus"}}],
            "current-context": "multus",
        }
        # JSON is valid YAML, and its readers need no YAML library.
        kubeconfig = json.dumps(wire, indent=2).encode() + b"\n"
        # The kubeconfig comes last: until then, the old one uses the old token.
        return {AUTHORITY: authority, TOKEN: token, NAME: kubeconfig}
