from __future__ import annotations

from integration.blackbox.test_chain import *  # noqa: F403
