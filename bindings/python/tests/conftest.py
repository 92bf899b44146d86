"""Projects and builders of their own for each test."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import hashlib
import io
from pathlib import Path
from typing import Iterator

import pytest

import stagewright

DOCKERFILE = """\
FROM scratch AS build
WORKDIR /build
COPY package.json ./
COPY src src

FROM scratch
COPY --from=build /build /app
CMD ["node", "/app"]
"""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="commands need root")


@pytest.fixture
def builder(tmp_path: Path) -> Iterator[stagewright.Builder]:
    with stagewright.Builder(tmp_path / "store", environment={}) as builder:
        yield builder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "src").mkdir(parents=True)
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / ".dockerignore").write_text("Dockerfile\n")
    (folder / "package.json").write_text("{}")
    (folder / "src/index.js").write_text("one")
    return folder


@pytest.fixture(scope="session")
def busybox(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image of this machine's BusyBox, as a named context."""
    folder = tmp_path_factory.mktemp("busybox")
    program = shutil.which("busybox")
    assert program is not None
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        tar.add(program, "bin/busybox")
        for applet in ("sh", "echo", "sleep", "cat", "test", "true"):
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type = tarfile.SYMTYPE
            link.linkname = "busybox"
            tar.addfile(link)
        for name in ("proc", "sys", "dev", "etc", "tmp"):
            entry = tarfile.TarInfo(name)
            entry.type = tarfile.DIRTYPE
            entry.mode = 0o755
            tar.addfile(entry)
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True)

    def put(content: bytes, media: str) -> dict[str, object]:
        digest = hashlib.sha256(content).hexdigest()
        (blobs / digest).write_bytes(content)
        return {"mediaType": media, "digest": f"sha256:{digest}", "size": len(content)}

    layer = put(raw.getvalue(), "application/vnd.oci.image.layer.v1.tar")
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, "amd64")
    config = {
        "architecture": machine,
        "os": "linux",
        "config": {"Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
    }
    manifest = {
        "schemaVersion": 2,
        "config": put(
            json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json"
        ),
        "layers": [layer],
    }
    described = put(json.dumps(manifest).encode(), "application/vnd.oci.image.manifest.v1+json")
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [described]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return f"oci-layout://{folder}"


def executed(build: stagewright.Build) -> list[str]:
    """Reads a build's events and returns the names of the steps that ran."""
    names: dict[int, str] = {}
    ran: list[str] = []
    for event in build:
        if isinstance(event, stagewright.Planned):
            names.update((v.id, v.name) for v in event.vertices if v.step)
        elif isinstance(event, stagewright.Finished) and event.outcome == "executed":
            if event.vertex in names:
                ran.append(names[event.vertex])
    return ran


