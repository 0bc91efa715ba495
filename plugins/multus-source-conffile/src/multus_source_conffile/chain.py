"""The auxiliary chain: plugins that the node carries out for every pod, after all its networks.

The chain begins with ``passthru``, which attaches nothing.  The other plugins are those in the
``.conf`` files of the folder with the chain's name, beside the file of ``clusterNetwork``.  It is a
network of its own, so its plugins neither see nor change the results of the others.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from multus.api.conffiles import plugins_in
from multus.api.errors import CNIError
from multus.api.names import is_identifier
from multus.api.network import Element, Provenance, Role, Selection
from multus.api.problem import Problem
from multus.api.where import Where

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.request import Request
    from multus.api.session import Session

KEY = "auxiliaryCNIChainName"
PASSTHRU = "passthru"


def problems(conf: Conf) -> list[Problem]:
    """Problems with the chain's name, and with ``clusterNetwork``, which says where it is."""
    name, cluster = conf.raw.get(KEY), conf.raw.get("clusterNetwork")
    if not isinstance(name, str) or not name:
        return []
    found = []
    if not is_identifier(name):
        fix = "use the name of a folder: letters, digits, '_', '.', '-'"
        found.append(Problem(KEY, f"is {name!r}: invalid network name", fix))
    if not isinstance(cluster, str) or "/" not in cluster:
        reason = "needs a path in 'clusterNetwork': the chain's folder is beside that file"
        found.append(Problem(KEY, reason, "write the path of the default network's file there"))
    return found


def chain(request: Request, conf: Conf, session: Session, source: str) -> Selection | None:
    """The chain of the node's configuration; None when it has none, or its folder no files.

    A file that cannot be read fails an ADD.  It does not keep a DEL without a record from the
    networks.
    """
    name = conf.reader.text(KEY)
    if not name or problems(conf):
        return None
    folder = os.path.join(os.path.dirname(conf.reader.text("clusterNetwork")), name)
    try:
        plugins = plugins_in(folder)
    except CNIError as error:
        if request.command not in ("DEL", "GC"):
            raise
        session.log.verbose(f"chain {name!r} is left out: {error}")
        return None
    if not plugins:
        return None
    config = {"name": name, "plugins": [{"type": PASSTHRU}, *plugins]}
    origin = Where(f"key {KEY!r}", (KEY,))
    element = Element(name, origin, source, config=config, provenance=Provenance.NODE)
    return Selection(Role.LAST, (element,), origin)
