"""Images of the store."""

from __future__ import annotations

import json
import os
from typing import Any, Sequence

from ._native import NativeImage


class Image:
    """An image that was built, or that has a name in the store."""

    def __init__(self, native: NativeImage) -> None:
        self._native = native
        described: dict[str, Any] = json.loads(native.describe())
        #: The digest of the config: Docker's image id.
        self.id: str = described["id"]
        #: The names in the store.
        self.names: list[str] = described["names"]
        #: The config, as in the OCI image specification.
        self.config: dict[str, Any] = described["config"]

    def __repr__(self) -> str:
        return f"<stagewright.Image {self.id} {self.names}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Image) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def sizes(self) -> dict[str, Any]:
        """Says how large the image is, by layer and by stage."""
        sizes: dict[str, Any] = json.loads(self._native.sizes())
        return sizes

    def export(
        self,
        dest: str | os.PathLike[str],
        *,
        kind: str = "oci_directory",
        names: Sequence[str] = (),
        compression: str = "gzip",
        inline_cache: bool = False,
    ) -> str | None:
        """Writes the image out and returns the digest of its manifest, if it has one.

        ``kind`` is ``oci_directory``, ``oci_archive``, ``docker_archive``, ``directory`` or ``tar``;
        ``compression`` is ``gzip``, ``zstd``, ``estargz`` or ``uncompressed``. With ``inline_cache``
        the image is a cache, too, for the ``cache_from`` of other builds.
        """
        export = {
            "kind": kind,
            "dest": os.fspath(dest),
            "names": list(names),
            "compression": compression,
            "inline_cache": inline_cache,
        }
        return self._native.export(json.dumps(export))

    def push(
        self,
        *names: str,
        compression: str = "gzip",
        by_digest: bool = False,
        insecure: bool = False,
        inline_cache: bool = False,
    ) -> str | None:
        """Pushes the image to the registries of its names, or of those given; returns the digest.

        Blocks, with Python's lock released.
        """
        push = {
            "names": list(names),
            "compression": compression,
            "by_digest": by_digest,
            "insecure": insecure,
            "inline_cache": inline_cache,
        }
        return self._native.push(json.dumps(push))

    def export_cache(self, to: str) -> str | None:
        """Exports the cache of the build that made the image; returns the digest of its manifest.

        ``to`` is what ``--cache-to`` takes: ``type=registry,ref=REF,mode=max``,
        ``type=local,dest=FOLDER``. Only an image that was just built has a cache. Blocks, with
        Python's lock released.
        """
        return self._native.export_cache(to)
