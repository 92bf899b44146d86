"""Builders."""

from __future__ import annotations

import json
import os
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, Mapping, Sequence

from ._build import Build
from ._describe import (
    CheckReport,
    Outline,
    Targets,
    read_checks,
    read_outline,
    read_targets,
)
from ._errors import RequestTypeError
from ._events import Event, Explained, read_explained, reading
from ._image import Image
from ._native import NativeBuilder
from ._options import BuildOptions, Path, request_json

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Builder:
    """Builds images. Threads may share it; a forked process makes its own."""

    def __init__(
        self,
        store: Path | None = None,
        *,
        registry_mirrors: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        store_limit: int | None = None,
        store_min_free: int | None = None,
        store_reserved: int | None = None,
    ) -> None:
        """Opens a store, or makes it: that of the command if none is named.

        ``environment`` takes the place of ``os.environ``, which says where the store, logins,
        proxies and certificates are. What the store takes above ``store_limit`` bytes goes after a
        build; a tenth of the disk and at most 20 GiB is usual, 0 is no limit. Where less than
        ``store_min_free`` bytes are free on the store's disk, what nobody needs goes before and after
        a build, down to ``store_reserved`` bytes; a twentieth of the disk and at most 10 GiB, and half
        of the limit, are usual.
        """
        given = os.environ if environment is None else environment
        mirrors = [f"{name}={place}" for name, place in (registry_mirrors or {}).items()]
        try:
            opened = NativeBuilder(
                store, mirrors, dict(given), store_limit, store_min_free, store_reserved
            )
        except (TypeError, OverflowError) as error:
            raise RequestTypeError(str(error)) from None
        self._opened: NativeBuilder | None = opened

    @property
    def _native(self) -> NativeBuilder:
        if self._opened is None:
            raise RuntimeError("the builder is closed")
        return self._opened

    def close(self) -> None:
        """Lets go of the store. Builds that run and images stay as they are."""
        self._opened = None

    def __enter__(self) -> Builder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def build(self, path: Path | None = None, **options: Unpack[BuildOptions]) -> Image:
        """Builds an image and returns it.

        ``path`` is the context: a folder, or the address of a repository.
        """
        return Build(self._native.start(request_json("build", path, options))).wait()

    def start(self, path: Path | None = None, **options: Unpack[BuildOptions]) -> Build:
        """Starts a build at once and returns it; takes what ``build`` takes."""
        return Build(self._native.start(request_json("start", path, options)))

    def explain(
        self, path: Path | None = None, **options: Unpack[BuildOptions]
    ) -> list[Explained]:
        """Says what a build would do, and why, without doing it; takes what ``build`` takes."""
        return read_explained(self._native.explain(request_json("explain", path, options)))

    def check(self, path: Path | None = None, **options: Unpack[BuildOptions]) -> CheckReport:
        """Runs the build checks on what would be built; takes what ``build`` takes."""
        return read_checks(self._native.check(request_json("check", path, options)))

    def outline(self, path: Path | None = None, **options: Unpack[BuildOptions]) -> Outline:
        """Says what the target takes: arguments, secrets, SSH agents, caches."""
        return read_outline(self._native.outline(request_json("outline", path, options)))

    def targets(self, path: Path | None = None, **options: Unpack[BuildOptions]) -> Targets:
        """Lists the stages that could be built."""
        return read_targets(self._native.targets(request_json("targets", path, options)))

    def image(self, name: str) -> Image:
        """Finds an image by its name in the store."""
        return Image(self._native.image(name))

    def images(self) -> list[dict[str, Any]]:
        """Lists the names in the store."""
        entries: list[dict[str, Any]] = json.loads(self._native.images())
        return entries

    def tag_image(self, name: str, new_name: str) -> None:
        """Gives an image another name."""
        self._native.tag_image(name, new_name)

    def remove_image(self, name: str) -> None:
        """Removes a name from the store."""
        self._native.remove_image(name)

    def pull_image(
        self,
        name: str,
        *,
        platform: str | None = None,
        insecure: bool = False,
        on_event: Callable[[Event], object] | None = None,
    ) -> Image:
        """Pulls an image from its registry into the store, under its name.

        ``on_event`` is called on this thread with what happens meanwhile.
        """
        options = json.dumps({"platform": platform, "insecure": insecure})
        return Image(self._native.pull_image(name, options, reading(on_event)))

    def load_images(
        self,
        path: Path,
        *,
        platform: str | None = None,
        on_event: Callable[[Event], object] | None = None,
    ) -> list[str]:
        """Loads the images of an archive or layout into the store, and returns their names."""
        options = json.dumps({"platform": platform})
        return self._native.load_images(os.fspath(path), options, reading(on_event))

    def copy_image(
        self,
        source: str,
        dest: str,
        *,
        platform: str | None = None,
        insecure: bool = False,
        on_event: Callable[[Event], object] | None = None,
    ) -> str | None:
        """Copies an image from one place to another, and returns its digest.

        Places are names in the store, ``docker://NAME``, ``oci:PATH[:NAME]``, ``oci-archive:FILE``,
        ``docker-archive:FILE``, ``containers-storage:NAME`` and ``docker-daemon:NAME``.
        """
        options = json.dumps({"platform": platform, "insecure": insecure})
        return self._native.copy_image(source, dest, options, reading(on_event))

    def inspect_image(
        self,
        place: str,
        *,
        platform: str | None = None,
        insecure: bool = False,
        predicates: bool = False,
    ) -> dict[str, Any]:
        """Looks at an image in any place: its config, platforms, and what is attested of it.

        ``predicates`` reads the attestations, too.
        """
        options = {"platform": platform, "insecure": insecure, "predicates": predicates}
        found: dict[str, Any] = json.loads(self._native.inspect_image(place, json.dumps(options)))
        return found

    def cache_usage(self) -> dict[str, Any]:
        """Measures what the store takes on disk."""
        usage: dict[str, Any] = json.loads(self._native.cache_usage())
        return usage

    def layer_uses(self) -> list[dict[str, Any]]:
        """Lists the layers of the store, the least recently used first."""
        uses: list[dict[str, Any]] = json.loads(self._native.layer_uses())
        return uses

    def prune_cache(
        self,
        *,
        all: bool = False,
        max_used_bytes: int | None = None,
        min_free_bytes: int | None = None,
        reserved_bytes: int | None = None,
        used_before_unix_ms: int | None = None,
        kinds: Sequence[str] = (),
        ids: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Removes from the store what nobody needs, the least recently used first.

        ``all`` takes base images as well. It stops when the store takes no more than
        ``max_used_bytes``, when ``min_free_bytes`` are free on its disk, and in any case at
        ``reserved_bytes``. ``kinds`` are of ``layer``, ``base_layer``, ``blob``, ``cache_mount`` and ``context``.
        """
        options = {
            "all": all,
            "max_used_bytes": max_used_bytes,
            "min_free_bytes": min_free_bytes,
            "reserved_bytes": reserved_bytes,
            "used_before_unix_ms": used_before_unix_ms,
            "kinds": list(kinds),
            "ids": list(ids),
        }
        pruned: dict[str, Any] = json.loads(self._native.prune_cache(json.dumps(options)))
        return pruned

    def verify_cache(self, *, repair: bool = False) -> dict[str, Any]:
        """Checks what the store holds against its digests."""
        found: dict[str, Any] = json.loads(self._native.verify_cache(repair))
        return found

    def host_report(self) -> dict[str, Any]:
        """Says what this host can do for steps."""
        report: dict[str, Any] = json.loads(self._native.host_report())
        return report
