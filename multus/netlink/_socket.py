"""``socket`` for standalone calls (one process per call).

``socket`` turns its constants into enumerations at import, which takes as long as creating a link.
CPython's ``_socket`` has the numbers, the socket class and the functions without them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
else:
    import _socket as socket

__all__ = ["socket"]
