"""What is asked for, as the library takes it."""

from __future__ import annotations

import json
import math
import os
from datetime import timedelta
from typing import IO, TYPE_CHECKING, Any, Callable, Iterable, Mapping, Sequence, TypedDict, Union

from ._errors import RequestTypeError
from ._stage import Stage, _Secret, _secret, _Table

if TYPE_CHECKING:
    from ._native import NativeImage

Path = Union[str, "os.PathLike[str]"]


class BuildOptions(TypedDict, total=False):
    """What a build is asked to do; each may be left out.

    The names are those of docker-py. ``build_args``, ``file``, ``network``, ``add_hosts`` and
    ``no_cache``, the names of python-on-whales and the command, mean the same.
    """

    stage: Stage | None
    """A stage in code, built instead of a Dockerfile, or on one that is named as well."""
    dockerfile: Path | None
    """The Dockerfile: a path in the context, or an absolute one."""
    file: Path | None
    """The same as ``dockerfile``."""
    fileobj: IO[str] | IO[bytes] | None
    """The Dockerfile itself, to be read."""
    text: str | None
    """The Dockerfile itself."""
    ignore_file: Path | None
    """What of the context is left out, in place of its ignore file."""
    archive: Path | None
    """The context as a tar archive, in place of ``path``."""
    tag: str | None
    tags: str | Iterable[str]
    buildargs: Mapping[str, str] | None
    build_args: Mapping[str, str] | None
    """The same as ``buildargs``."""
    build_contexts: Mapping[str, Path | Stage] | None
    target: str | None
    labels: Mapping[str, str] | None
    unset_env: str | Sequence[str]
    """Variables that the image has not. Steps see them all the same."""
    unset_labels: str | Sequence[str]
    """Labels that the image has not."""
    squash: bool | str
    """The layers of the build become one (``True``, ``new``), or those of the base too (``all``)."""
    inherit_labels: bool
    """Take over the labels of what a stage starts from; usual."""
    platform: str | None
    nocache: bool
    no_cache: bool
    """The same as ``nocache``."""
    no_cache_filter: str | Sequence[str]
    cache_ttl: float | timedelta | None
    """Commands run again whose results were made longer ago; a number is seconds."""
    pull: bool
    cache_from: str | Sequence[str]
    """Caches of other builds, each a reference or what ``--cache-from`` takes."""
    network_mode: str | None
    """``default``, ``host``, ``none``, ``pasta`` or ``slirp4netns``."""
    network: str | None
    """The same as ``network_mode``."""
    secrets: Mapping[str, _Secret] | None
    """Texts, bytes or paths by id."""
    ssh: Mapping[str, Sequence[Path]] | None
    """For each id the socket of an agent, or files of keys."""
    extra_hosts: Mapping[str, str] | None
    add_hosts: Mapping[str, str] | None
    """The same as ``extra_hosts``."""
    dns: str | Sequence[str]
    """Name servers of steps, by address; ``none`` leaves the image's ``/etc/resolv.conf`` as it is."""
    dns_search: str | Sequence[str]
    dns_options: str | Sequence[str]
    shmsize: int | None
    container_limits: Mapping[str, int | str] | None
    """``memory``, ``memswap``, ``cpushares`` and ``cpusetcpus`` of steps, which need a cgroup as the
    next four do."""
    cpu_quota: int | None
    cpu_period: int | None
    cpuset_mems: str | None
    cgroup_parent: str | None
    ulimits: Sequence[tuple[str, int, int]]
    """As ``(name, soft, hard)``."""
    volumes: str | Sequence[str]
    """Folders and files of the host that steps see, as ``--volume`` has them: ``SOURCE:TARGET``,
    ``SOURCE:TARGET:ro``."""
    devices: str | Sequence[str]
    """Devices of the host that steps may use: ``DEVICE`` or ``DEVICE:TARGET``."""
    step_timeout: float | None
    """A step that takes more seconds is ended, and the build fails."""
    step_log_bytes_max: int | None
    """How much of what a step writes is told: 2 MiB by default, all if 0."""
    jobs: int | None
    source_date_epoch: int | None
    reproducible: bool
    """The same image whenever and wherever it is built."""
    provenance: bool | str
    """How the image was made goes with it: a boolean, or what ``--provenance`` takes."""
    sbom: bool
    """A list of the packages in the image goes with it."""
    allow: str | Sequence[str]


class FormOptions(TypedDict, total=False):
    """The form in which an image leaves the store; each may be left out."""

    compression: str
    """``gzip``, ``zstd``, ``estargz`` or ``uncompressed``."""
    compression_level: int | None
    force_compression: bool
    """Compress the layers of base images anew where they came in another form."""
    oci_media_types: bool | None
    latest_file_time: int | None
    """No file of a layer made by the build is later than this, in seconds since 1970."""
    annotations: Mapping[str, str] | None
    """By key, or by ``LEVEL:KEY`` with a level that ``--annotation`` takes."""
    inline_cache: bool
    """The image is a cache, too, for the ``cache_from`` of other builds."""


class PushOptions(FormOptions, total=False):
    """How an image is pushed; each may be left out."""

    by_digest: bool
    """Pushing gives the image no tag."""
    insecure: bool
    """For pushing, plain HTTP and untrusted certificates will do."""


class ExportOptions(FormOptions, total=False):
    """How an image is written out; each may be left out."""

    kind: str
    """``oci_directory``, ``oci_archive``, ``docker_archive``, ``directory`` or ``tar``."""
    names: str | Sequence[str]
    """Names that it carries in place of its own."""


_SAME = {
    "file": "dockerfile",
    "build_args": "buildargs",
    "network": "network_mode",
    "add_hosts": "extra_hosts",
    "no_cache": "nocache",
}

#: Options of other clients, and what takes their place.
_ELSEWHERE = {
    "rm": "a build leaves no containers: leave it out",
    "forcerm": "a build leaves no containers: leave it out",
    "quiet": "a build prints nothing: leave it out",
    "decode": "events are objects: leave it out",
    "progress": "a build prints nothing: iterate over start()",
    "cache": "write nocache=True",
    "cache_to": "call export_cache() of the image",
    "ignorefile": "write ignore_file=PATH",
    "context_path": "the context is called path, and comes first",
    "custom_context": "write archive=PATH",
    "gzip": "write archive=PATH",
    "load": "call export() of the image with kind='docker_archive'",
    "output": "call export() of the image",
    "platforms": "build each platform, and call export_images() or push_images() with them all",
    "push": "call push() of the image",
    "timeout": "write step_timeout=SECONDS, or cancel the build",
}


def _milliseconds(name: str, what: str, seconds: object) -> int:
    if not isinstance(seconds, (int, float)) or not math.isfinite(seconds):
        raise RequestTypeError(f"{name} is {what}, not {seconds!r}")
    return round(seconds * 1000)


def request_json(function: str, path: Path | None, options: Mapping[str, Any]) -> str:
    """Writes what a build is asked to do."""
    given: dict[str, Any] = {}
    for name, value in options.items():
        if name not in BuildOptions.__annotations__:
            where = _ELSEWHERE.get(name)
            hint = f": {where}" if where else ""
            raise RequestTypeError(f"{function}() has no option {name!r}{hint}")
        known = _SAME.get(name, name)
        if known in given:
            raise RequestTypeError(f"{function}() is given {known!r} twice")
        given[known] = value
    table = _Table()
    request: dict[str, Any] = {"context": _path("path", path)}
    for name, value in given.items():
        # What is not given is as the library has it.
        if value is None:
            continue
        if name == "fileobj":
            if given.get("text") is not None:
                raise RequestTypeError("give fileobj or text, not both")
            read = value.read()
            request["dockerfile_text"] = read.decode() if isinstance(read, bytes) else read
        elif name == "stage":
            if not isinstance(value, Stage):
                raise RequestTypeError(f"stage is a Stage, not {type(value).__name__}")
            request["stage"] = table.name(value)["stage"]
        elif name == "build_contexts":
            request["build_contexts"] = {
                key: table.name(it) if isinstance(it, Stage) else _path(name, it)
                for key, it in _mapping(name, given).items()
            }
        elif name in ("tag", "tags"):
            request["tags"] = [*_texts("tag", given), *_texts("tags", given)]
        elif name == "container_limits":
            for key, limit in _mapping(name, given).items():
                if key not in _LIMITS:
                    raise RequestTypeError(f"container_limits has an unexpected key {key!r}")
                request[_LIMITS[key]] = limit
        elif name == "cache_ttl":
            seconds = value.total_seconds() if isinstance(value, timedelta) else value
            request["cache_ttl_ms"] = _milliseconds(name, "a number or a timedelta", seconds)
        elif name == "step_timeout":
            request["step_timeout_ms"] = _milliseconds(name, "a number", value)
        else:
            of_library, convert = _PLAIN[name]
            request[of_library] = value if convert is None else convert(name, given)
    if table.stages:
        request["stages"] = table.stages
    return _written(request)


def export_json(dest: Path, options: Mapping[str, Any]) -> str:
    """Writes how an image is written out."""
    known = ExportOptions.__annotations__
    form = _form("export", options, known)
    return _written({"kind": "oci_directory", **form, "dest": _path("dest", dest)})


def push_json(names: Sequence[str], options: Mapping[str, Any]) -> str:
    """Writes how an image is pushed."""
    form = _form("push", options, PushOptions.__annotations__)
    return _written({**form, "names": _texts("names", {"names": names})})


def _form(function: str, options: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    for name in options:
        if name not in known:
            raise RequestTypeError(f"{function}() has no option {name!r}")
    annotations = _texts_by_name("annotations", options)
    return {**options, "names": _texts("names", options), "annotations": annotations}


def run_json(
    command: Sequence[str],
    env: Mapping[str, str] | None,
    user: str | None,
    workdir: Path | None,
) -> str:
    """Writes how an image is run."""
    return _written(
        {
            "command": [command] if isinstance(command, str) else list(command),
            "env": _texts_by_name("env", {"env": env}),
            "user": user,
            "workdir": _path("workdir", workdir),
        }
    )


def natives(images: Iterable[Any]) -> list[NativeImage]:
    """Returns the native half of each image."""
    found = []
    for image in images:
        native = getattr(image, "_native", None)
        if native is None:
            raise RequestTypeError(f"an Image is needed, not {type(image).__name__}")
        found.append(native)
    return found


def _path(name: str, value: Any) -> str | None:
    if value is None:
        return None
    try:
        path = os.fspath(value)
    except TypeError:
        path = None
    if not isinstance(path, str):
        raise RequestTypeError(f"{name} is a path, not {type(value).__name__}")
    return path


def _mapping(name: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
    value = given.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise RequestTypeError(f"{name} is a mapping, not {type(value).__name__}")
    return value


def _texts_by_name(name: str, given: Mapping[str, Any]) -> dict[str, str]:
    mapping = _mapping(name, given)
    for key, value in mapping.items():
        if not (isinstance(key, str) and isinstance(value, str)):
            raise RequestTypeError(f"{name} is of texts: {key!r} is {value!r}")
    return dict(mapping)


def _texts(name: str, given: Mapping[str, Any]) -> list[str]:
    value = given.get(name)
    if value is None:
        return []
    texts = [value] if isinstance(value, str) else list(value) if isinstance(value, Iterable) else None
    if texts is None or not all(isinstance(text, str) for text in texts):
        raise RequestTypeError(f"{name} is a text or several, not {value!r}")
    return texts


def _written(document: dict[str, Any]) -> str:
    try:
        return json.dumps(document)
    except TypeError as error:
        raise RequestTypeError(str(error)) from None


def _path_of(name: str, given: Mapping[str, Any]) -> str | None:
    return _path(name, given[name])


def _secrets(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    return {id: _secret(it) for id, it in _mapping(name, given).items()}


def _ssh(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    return {id: [_path(name, it) for it in them] for id, them in _mapping(name, given).items()}


def _ulimits(name: str, given: Mapping[str, Any]) -> list[list[Any]]:
    return [list(limit) for limit in given[name]]


_LIMITS = {
    "memory": "memory_bytes",
    "memswap": "memory_swap_bytes",
    "cpushares": "cpu_shares",
    "cpusetcpus": "cpuset_cpus",
}

#: What options are called by the library, and what makes of them what it takes.
_PLAIN: dict[str, tuple[str, Callable[[str, Mapping[str, Any]], Any] | None]] = {
    "archive": ("context_archive", _path_of),
    "dockerfile": ("dockerfile", _path_of),
    "text": ("dockerfile_text", None),
    "ignore_file": ("ignore_file", _path_of),
    "target": ("target", None),
    "buildargs": ("build_args", _texts_by_name),
    "labels": ("labels", _texts_by_name),
    "unset_env": ("unset_env", _texts),
    "unset_labels": ("unset_labels", _texts),
    "inherit_labels": ("inherit_labels", None),
    "squash": ("squash", None),
    "platform": ("platform", None),
    "nocache": ("no_cache", None),
    "no_cache_filter": ("no_cache_filter", _texts),
    "pull": ("pull", None),
    "cache_from": ("cache_from", _texts),
    "network_mode": ("network", None),
    "secrets": ("secrets", _secrets),
    "ssh": ("ssh", _ssh),
    "extra_hosts": ("extra_hosts", _texts_by_name),
    "dns": ("dns", _texts),
    "dns_search": ("dns_search", _texts),
    "dns_options": ("dns_options", _texts),
    "volumes": ("volumes", _texts),
    "devices": ("devices", _texts),
    "shmsize": ("shm_bytes", None),
    "cpu_quota": ("cpu_quota_us", None),
    "cpu_period": ("cpu_period_us", None),
    "cpuset_mems": ("cpuset_mems", None),
    "cgroup_parent": ("cgroup_parent", None),
    "ulimits": ("ulimits", _ulimits),
    "step_log_bytes_max": ("step_log_bytes_max", None),
    "jobs": ("jobs", None),
    "source_date_epoch": ("source_date_epoch", None),
    "reproducible": ("reproducible", None),
    "provenance": ("provenance", None),
    "sbom": ("sbom", None),
    "allow": ("allow", _texts),
}
