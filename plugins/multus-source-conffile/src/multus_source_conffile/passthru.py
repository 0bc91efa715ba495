"""The ``passthru`` plugin, in-process: it attaches nothing and hands on the result before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from multus.api.invoker import Invoker
from multus.api.result import Result

if TYPE_CHECKING:
    from multus.api.network import Invocation


class Passthru(Invoker):
    """The first plugin of a chain whose other plugins need one before them."""

    name = "passthru"
    leaves_nothing = True

    def add(self, invocation: Invocation) -> Result:
        return invocation.prev_result or Result()
