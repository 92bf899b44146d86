"""Builders."""

from __future__ import annotations

import json
import os
from types import TracebackType
from typing import IO, Any, Iterable, Mapping, Sequence, Union

from ._build import Build
from ._events import Explained, read_explained
from ._image import Image
from ._native import NativeBuilder
from ._stage import Stage, _Secret, _secret, _Table

_Path = Union[str, "os.PathLike[str]"]


class Builder:
    """Builds images. Threads may share it; a forked process makes its own."""

    def __init__(
        self,
        store: _Path | None = None,
        *,
        registry_mirrors: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Opens a store, or makes it: that of the command if none is named.

        ``environment`` takes the place of ``os.environ``, which says where the store, logins,
        proxies and certificates are.
        """
        given = os.environ if environment is None else environment
        mirrors = [f"{name}={place}" for name, place in (registry_mirrors or {}).items()]
        folder = None if store is None else os.fspath(store)
        self._opened: NativeBuilder | None = NativeBuilder(folder, mirrors, dict(given))

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

    def build(self, path: _Path | None = None, **options: Any) -> Image:
        """Builds an image and returns it; takes what ``start`` takes."""
        return self.start(path, **options).wait()

    def start(
        self,
        path: _Path | None = None,
        *,
        stage: Stage | None = None,
        dockerfile: _Path | None = None,
        fileobj: IO[str] | IO[bytes] | None = None,
        text: str | None = None,
        archive: _Path | None = None,
        tag: str | None = None,
        tags: Iterable[str] = (),
        buildargs: Mapping[str, str] | None = None,
        build_contexts: Mapping[str, _Path | Stage] | None = None,
        target: str | None = None,
        labels: Mapping[str, str] | None = None,
        platform: str | None = None,
        nocache: bool = False,
        no_cache_filter: Sequence[str] = (),
        pull: bool = False,
        cache_from: Sequence[str] = (),
        network_mode: str | None = None,
        secrets: Mapping[str, _Secret] | None = None,
        ssh: Mapping[str, Sequence[_Path]] | None = None,
        extra_hosts: Mapping[str, str] | None = None,
        shmsize: int | None = None,
        container_limits: Mapping[str, int | str] | None = None,
        cpu_quota: int | None = None,
        cpu_period: int | None = None,
        cpuset_mems: str | None = None,
        cgroup_parent: str | None = None,
        ulimits: Sequence[tuple[str, int, int]] = (),
        step_timeout: float | None = None,
        step_log_bytes_max: int | None = None,
        jobs: int | None = None,
        source_date_epoch: int | None = None,
        reproducible: bool = False,
        allow: Sequence[str] = (),
    ) -> Build:
        """Starts a build at once and returns it.

        ``path`` is the context: a folder, or the address of a repository. ``dockerfile`` is a path
        in it; ``fileobj`` and ``text`` give the Dockerfile itself. A ``stage`` in code is built
        instead of a Dockerfile, or on one that is named as well. ``ssh`` has for each id the socket
        of an agent, or files of keys. ``cache_from`` has caches of other builds, each a reference or
        what ``--cache-from`` takes. A step that takes more than ``step_timeout`` seconds is ended.
        ``container_limits`` has ``memory``, ``memswap``, ``cpushares`` and ``cpusetcpus`` for steps; these
        limits, as the other ``cpu`` ones, need a cgroup.
        Of what a step writes, ``step_log_bytes_max`` bytes are told: 2 MiB by default, all if 0.
        """
        return Build(self._native.start(_request(locals())))

    def explain(self, path: _Path | None = None, **options: Any) -> list[Explained]:
        """Says what a build would do, and why, without doing it; takes what ``start`` takes."""
        usual: dict[str, Any] = getattr(Builder.start, "__kwdefaults__")
        for name in options.keys() - usual.keys():
            raise TypeError(f"explain() got an unexpected keyword argument {name!r}")
        return read_explained(self._native.explain(_request({**usual, **options, "path": path})))

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

    def cache_usage(self) -> dict[str, Any]:
        """Measures what the store takes on disk."""
        usage: dict[str, Any] = json.loads(self._native.cache_usage())
        return usage

    def prune_cache(
        self,
        *,
        all: bool = False,
        keep_bytes: int | None = None,
        used_before_unix_ms: int | None = None,
        kinds: Sequence[str] = (),
        ids: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Removes from the store what nobody needs, the least recently used first.

        ``all`` takes base images as well, ``keep_bytes`` stops when the store takes no more, and
        ``kinds`` are of ``layer``, ``base_layer``, ``blob``, ``cache_mount`` and ``context``.
        """
        options = {
            "all": all,
            "keep_bytes": keep_bytes,
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


def _request(given: dict[str, Any]) -> str:
    """Writes the arguments of ``Builder.start``."""
    path, stage, dockerfile = given["path"], given["stage"], given["dockerfile"]
    archive, fileobj, text = given["archive"], given["fileobj"], given["text"]
    if fileobj is not None:
        if text is not None:
            raise TypeError("give fileobj or text, not both")
        read = fileobj.read()
        text = read.decode() if isinstance(read, bytes) else read
    limits = given["container_limits"] or {}
    for name in limits.keys() - {"memory", "memswap", "cpushares", "cpusetcpus"}:
        raise TypeError(f"container_limits has an unexpected key {name!r}")
    table = _Table()
    contexts: dict[str, Any] = {}
    for name, context in (given["build_contexts"] or {}).items():
        contexts[name] = (
            table.name(context) if isinstance(context, Stage) else os.fspath(context)
        )
    chosen = None if stage is None else table.name(stage)["stage"]
    request = {
        "context": None if path is None else os.fspath(path),
        "context_archive": None if archive is None else os.fspath(archive),
        "dockerfile": None if dockerfile is None else os.fspath(dockerfile),
        "dockerfile_text": text,
        "stages": table.stages,
        "stage": chosen,
        "build_contexts": contexts,
        "target": given["target"],
        "build_args": dict(given["buildargs"] or {}),
        "labels": dict(given["labels"] or {}),
        "tags": ([given["tag"]] if given["tag"] is not None else []) + list(given["tags"]),
        "platform": given["platform"],
        "no_cache": given["nocache"],
        "no_cache_filter": list(given["no_cache_filter"]),
        "pull": given["pull"],
        "cache_from": list(given["cache_from"]),
        "network": given["network_mode"],
        "secrets": {id: _secret(value) for id, value in (given["secrets"] or {}).items()},
        "ssh": {id: [os.fspath(it) for it in paths] for id, paths in (given["ssh"] or {}).items()},
        "extra_hosts": dict(given["extra_hosts"] or {}),
        "shm_bytes": given["shmsize"],
        "memory_bytes": limits.get("memory"),
        "memory_swap_bytes": limits.get("memswap"),
        "cpu_shares": limits.get("cpushares"),
        "cpu_quota_us": given["cpu_quota"],
        "cpu_period_us": given["cpu_period"],
        "cpuset_cpus": limits.get("cpusetcpus"),
        "cpuset_mems": given["cpuset_mems"],
        "cgroup_parent": given["cgroup_parent"],
        "ulimits": [list(limit) for limit in given["ulimits"]],
        "jobs": given["jobs"],
        "step_timeout_ms": None if given["step_timeout"] is None else round(given["step_timeout"] * 1000),
        "step_log_bytes_max": given["step_log_bytes_max"],
        "source_date_epoch": given["source_date_epoch"],
        "reproducible": given["reproducible"],
        "allow": list(given["allow"]),
    }
    return json.dumps(request)
