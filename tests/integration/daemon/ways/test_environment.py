from __future__ import annotations

from integration.blackbox.test_environment import *  # noqa: F403
