from __future__ import annotations

from integration.blackbox.test_versions import *  # noqa: F403
