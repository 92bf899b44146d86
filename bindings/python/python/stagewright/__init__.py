"""Container images from Dockerfiles, built inside your process: no daemon, no Docker."""

from __future__ import annotations

from ._build import Build
from ._builder import Builder
from ._describe import (
    CheckReport,
    Finding,
    Outline,
    OutlineArg,
    OutlineMount,
    Target,
    Targets,
)
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
    RequestTypeError,
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
from ._image import Image, export_images, push_images
from ._native import __version__
from ._options import BuildOptions, ExportOptions, PushOptions
from ._stage import Mount, Stage

__all__ = [
    "Build",
    "BuildCancelledError",
    "BuildOptions",
    "Builder",
    "Change",
    "CheckReport",
    "DockerfileError",
    "Event",
    "Explained",
    "ExportError",
    "ExportOptions",
    "FetchError",
    "Finding",
    "Finished",
    "Image",
    "ImageError",
    "InternalError",
    "Log",
    "Miss",
    "Mount",
    "NotFoundError",
    "Outline",
    "OutlineArg",
    "OutlineMount",
    "Planned",
    "Progress",
    "PushOptions",
    "RegistryError",
    "RequestError",
    "RequestTypeError",
    "SandboxError",
    "Stage",
    "StagewrightError",
    "Started",
    "StepFailedError",
    "StoreError",
    "Target",
    "Targets",
    "UnsupportedError",
    "Vertex",
    "Warning",
    "__version__",
    "export_images",
    "push_images",
]
