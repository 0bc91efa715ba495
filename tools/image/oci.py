"""An OCI image layout in a tar file, whose bytes depend only on what is in it.

Source: OCI image specification 1.1: "Image Layout", "Image Index", "Image Manifest", "Image
Configuration".
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"


class Layer(NamedTuple):
    """A layer: the file with its bytes, its media type, and the digest of its tar file.

    ``size`` is the number of bytes unpacked.
    """

    path: Path
    media_type: str
    diff_id: str
    size: int


class Image(NamedTuple):
    """An image for one architecture, as Go names it.

    ``config`` is the configuration's object of that name: environment, user, labels and so on.
    """

    architecture: str
    layers: Sequence[Layer]
    config: Mapping[str, Any]
    created: str | None = None


def write(target: Path, name: str, images: Sequence[Image]) -> str:
    """Write the *images*, one for each architecture, under the *name*; returns the digest.

    One image is a manifest, several are an index of manifests, from which a runtime takes its own.
    """
    archive = _Archive()
    entries = [_manifest(archive, image) for image in images]
    if len(entries) == 1:
        (entry,) = entries
    else:
        index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": entries}
        entry = archive.add(_INDEX, _json(index))
    # podman and skopeo read the first name, containerd the second.
    entry["annotations"] = {
        "org.opencontainers.image.ref.name": name,
        "io.containerd.image.name": name,
    }
    archive.write(target, {"schemaVersion": 2, "mediaType": _INDEX, "manifests": [entry]})
    return str(entry["digest"])


def _manifest(archive: _Archive, image: Image) -> dict[str, Any]:
    layers = [archive.add_file(each.media_type, each.path) for each in image.layers]
    platform = {"architecture": image.architecture, "os": "linux"}
    created = {"created": image.created} if image.created else {}
    config = {
        **created,
        **platform,
        "config": image.config,
        "rootfs": {"type": "layers", "diff_ids": [each.diff_id for each in image.layers]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": archive.add("application/vnd.oci.image.config.v1+json", _json(config)),
        "layers": layers,
    }
    return {**archive.add(_MANIFEST, _json(manifest)), "platform": platform}


class _Archive:
    """The blobs of a layout: bytes, or the files that have them."""

    def __init__(self) -> None:
        self._blobs: dict[str, bytes | Path] = {}

    def add(self, media_type: str, data: bytes) -> dict[str, Any]:
        """Add a blob; returns its descriptor."""
        return self._described(media_type, hashlib.sha256(data).hexdigest(), len(data), data)

    def add_file(self, media_type: str, path: Path) -> dict[str, Any]:
        """Add a blob that is a file; returns its descriptor."""
        with path.open("rb") as file:
            digest = hashlib.sha256()
            while chunk := file.read(1 << 20):
                digest.update(chunk)
        return self._described(media_type, digest.hexdigest(), path.stat().st_size, path)

    def _described(
        self, media_type: str, digest: str, size: int, content: bytes | Path
    ) -> dict[str, Any]:
        self._blobs[f"blobs/sha256/{digest}"] = content
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": size}

    def write(self, target: Path, index: Mapping[str, Any]) -> None:
        layout = {
            "oci-layout": _json({"imageLayoutVersion": "1.0.0"}),
            "index.json": _json(index),
        }
        unfinished = target.with_name(f"{target.name}.new")
        with tarfile.open(unfinished, "w", format=tarfile.PAX_FORMAT) as archive:
            for name, content in sorted({**layout, **self._blobs}.items()):
                member = tarfile.TarInfo(name)
                if isinstance(content, bytes):
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
                else:
                    member.size = content.stat().st_size
                    with content.open("rb") as file:
                        archive.addfile(member, file)
        unfinished.replace(target)


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
