"""The API server of a request."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from multus.api.kubernetes._sourcekeys import KUBECONFIG

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.kubernetes._interface import Api
    from multus.api.session import Session
    from multus.kube.client import KubeClient


def api_of(conf: Conf, session: Session) -> Api | None:
    """The API server that *conf* names; None when it names none.

    In a daemon it answers from caches.  In a standalone call it is a client, which the first use
    creates and the end of the session closes.  Raises ``InvalidConfig`` for an invalid kubeconfig.
    """
    if session.api is not None:
        return session.api
    kubeconfig = conf.reader.text(KUBECONFIG.name)
    if not kubeconfig:
        return None
    return session.once("multus.api.kubernetes.client", partial(_client, kubeconfig, conf, session))


def _client(kubeconfig: str, conf: Conf, session: Session) -> KubeClient:
    # The only place where a standalone call imports HTTP and TLS.
    from multus.kube.client import KubeClient
    from multus.kube.kubeconfig import load_kubeconfig

    access, node = load_kubeconfig(kubeconfig), os.environ.get("MULTUS_NODE_NAME", "")
    client = KubeClient(access, node, cni_dir=conf.cni_dir, kubeconfig=kubeconfig)
    session.closing.callback(client.close)
    return client
