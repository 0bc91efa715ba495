from __future__ import annotations

from integration.blackbox.test_failures import *  # noqa: F403
