from __future__ import annotations

from integration.blackbox.test_stdin import *  # noqa: F403
