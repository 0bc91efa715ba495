"""A session without the engine: for tests that call a hook or an invoker directly."""

from __future__ import annotations

import weakref
from typing import Any

from multus.api.session import Session
from multus.log import Log


def new_session(**means: Any) -> Session:
    """A session with these *means* (``api=…``, ``deadline=…``); its log writes errors to stderr.

    It is closed at the end of a ``with`` block, or when nothing refers to it any more.
    """
    session = Session(Log.from_conf({"logLevel": "error"}), **means)
    weakref.finalize(session, session.closing.close)
    return session
