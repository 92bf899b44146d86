"""Images of the store."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Callable, Iterable, Mapping, Sequence

from . import _native as native
from ._events import Event, reading
from ._native import NativeImage
from ._options import (
    ExportOptions,
    Path,
    PushOptions,
    export_json,
    natives,
    push_json,
    run_json,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack


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

    def run(
        self,
        command: Sequence[str] = (),
        *,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        workdir: Path | None = None,
    ) -> int:
        """Runs the image on this process's standard streams, and returns the exit code.

        ``command`` takes the place of the image's. What it writes to its files is thrown away.
        Blocks, with Python's lock released; Ctrl-C stops it.
        """
        return self._native.run(run_json(command, env, user, workdir))

    def export(self, dest: Path, **options: Unpack[ExportOptions]) -> str | None:
        """Writes the image out and returns the digest of its manifest, if it has one.

        Blocks, with Python's lock released.
        """
        return native.export_images([self._native], export_json(dest, options))

    def push(
        self,
        *names: str,
        on_event: Callable[[Event], object] | None = None,
        **options: Unpack[PushOptions],
    ) -> str | None:
        """Pushes the image to the registries of its names, or of those given; returns the digest.

        Blocks, with Python's lock released. ``on_event`` is called on this thread with what happens
        meanwhile: ``Progress`` for the bytes of each layer.
        """
        return push_images([self], *names, on_event=on_event, **options)

    def export_cache(
        self, to: str, *, on_event: Callable[[Event], object] | None = None
    ) -> str | None:
        """Exports the cache of the build that made the image; returns the digest of its manifest.

        ``to`` is what ``--cache-to`` takes: ``type=registry,ref=REF,mode=max``,
        ``type=local,dest=FOLDER``. Only an image that was just built has a cache. Blocks, with
        Python's lock released.
        """
        return self._native.export_cache(to, reading(on_event))


def export_images(
    images: Iterable[Image], dest: Path, **options: Unpack[ExportOptions]
) -> str | None:
    """Writes images of several platforms out as one; returns the digest of the index."""
    return native.export_images(natives(images), export_json(dest, options))


def push_images(
    images: Iterable[Image],
    *names: str,
    on_event: Callable[[Event], object] | None = None,
    **options: Unpack[PushOptions],
) -> str | None:
    """Pushes images of several platforms as one; returns the digest of the index."""
    return native.push_images(natives(images), push_json(names, options), reading(on_event))
