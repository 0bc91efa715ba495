from __future__ import annotations

from built import built_image, image_root

__all__ = ["built_image", "image_root"]
