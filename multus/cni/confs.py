"""A cache of parsed and validated configurations, by their bytes.

Nearly all pods of a node have the same one.  It is kept after an ADD succeeded with it, so the next
ADD need not parse and validate it again.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multus.api.conf import Conf

_MOST = 64
_LONGEST = 64 << 10


class Confs:
    """The last few configurations; used by many threads."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, Conf] = OrderedDict()
        self._lock = Lock()

    def recall(self, stdin: bytes) -> Conf | None:
        """The configuration for these bytes; None when no recent ADD succeeded with them."""
        with self._lock:
            conf = self._known.get(stdin)
            if conf is not None:
                self._known.move_to_end(stdin)
            return conf

    def keep(self, stdin: bytes, conf: Conf) -> None:
        """Keep a parsed and validated configuration, unless it is too large."""
        if len(stdin) > _LONGEST:
            return
        with self._lock:
            self._known[stdin] = conf
            if len(self._known) > _MOST:
                self._known.popitem(last=False)
