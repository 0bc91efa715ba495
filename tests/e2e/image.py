"""A container image of one static program, as an OCI image layout in a tar file.

Source: OCI image specification 1.0, "Image Layout", "Image Manifest", "Image Configuration".
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

BUSYBOX = "/bin/busybox"
NAME = "docker.io/e2e/busybox:1"

_APPLETS = ("cat", "ip", "ls", "nc", "sh", "sleep", "true")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def write(path: Path, machine: str) -> None:
    """Write the image for this *machine* (as ``uname -m`` says) to *path*."""
    layer = _layer()
    blobs: dict[str, bytes] = {}

    def blob(media_type: str, data: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = data
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    content = blob("application/vnd.oci.image.layer.v1.tar", layer)
    config = {
        "architecture": _ARCHITECTURES.get(machine, machine),
        "os": "linux",
        "config": {"Cmd": ["/bin/sleep", "600"], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [content["digest"]]},
    }
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob("application/vnd.oci.image.config.v1+json", _json(config)),
        "layers": [content],
    }
    entry = blob(manifest["mediaType"], _json(manifest))
    # podman reads the first name, containerd the second.
    entry["annotations"] = {
        "org.opencontainers.image.ref.name": NAME,
        "io.containerd.image.name": NAME,
    }
    index = {"schemaVersion": 2, "manifests": [entry]}
    files = {"oci-layout": _json({"imageLayoutVersion": "1.0.0"}), "index.json": _json(index)}
    path.write_bytes(_tar({**files, **blobs}))


def _layer() -> bytes:
    links = {f"bin/{name}": "busybox" for name in _APPLETS}
    folders = ("bin", "dev", "etc", "proc", "sys", "tmp")
    return _tar({"bin/busybox": Path(BUSYBOX).read_bytes()}, links, folders)


def _tar(
    files: dict[str, bytes], links: dict[str, str] | None = None, folders: tuple[str, ...] = ()
) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in folders:
            member = tarfile.TarInfo(name)
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(member)
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o755
            archive.addfile(member, io.BytesIO(data))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    return buffer.getvalue()


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
