from __future__ import annotations

from integration.blackbox.test_seed import *  # noqa: F403
