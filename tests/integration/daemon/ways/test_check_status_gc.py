from __future__ import annotations

from integration.blackbox.test_check_status_gc import *  # noqa: F403
