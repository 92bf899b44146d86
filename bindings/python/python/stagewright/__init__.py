"""Container images from Dockerfiles, built inside your process: no daemon, no Docker."""

from __future__ import annotations

from ._build import Build
from ._builder import Builder
from ._errors import (
    BuildCancelledError,
    DockerfileError,
    ExportError,
    FetchError,
    ImageError,
    InternalError,
    NotFoundError,
    RegistryError,
    RequestError,
    SandboxError,
    StagewrightError,
    StepFailedError,
    StoreError,
    UnsupportedError,
)
from ._events import (
    Change,
    Event,
    Explained,
    Finished,
    Log,
    Miss,
    Planned,
    Progress,
    Started,
    Vertex,
    Warning,
)
from ._image import Image
from ._native import __version__
from ._stage import Mount, Stage

__all__ = [
    "Build",
    "BuildCancelledError",
    "Builder",
    "Change",
    "DockerfileError",
    "Event",
    "Explained",
    "ExportError",
    "FetchError",
    "Finished",
    "Image",
    "ImageError",
    "InternalError",
    "Log",
    "Miss",
    "Mount",
    "NotFoundError",
    "Planned",
    "Progress",
    "RegistryError",
    "RequestError",
    "SandboxError",
    "Stage",
    "StagewrightError",
    "Started",
    "StepFailedError",
    "StoreError",
    "UnsupportedError",
    "Vertex",
    "Warning",
    "__version__",
]
