"""What a build tells while it runs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Callable, Union

from ._describe import Finding


@dataclass(frozen=True)
class Vertex:
    """Something that a build does."""

    id: int
    name: str
    stage: str
    inputs: tuple[int, ...]
    line: int | None
    #: False for what is not a step of the plan: reading the Dockerfile, finding an image.
    step: bool


@dataclass(frozen=True)
class Change:
    """One difference between two runs of a step."""

    input: str
    name: str | None
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Miss:
    """Why a result was not in the cache."""

    #: ``first_run``, ``no_cache``, ``changed``, ``too_old`` or ``evicted``.
    reason: str
    text: str
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class Planned:
    """More vertices are known."""

    at_ms: int
    vertices: tuple[Vertex, ...]


@dataclass(frozen=True)
class Started:
    """A vertex began."""

    at_ms: int
    vertex: int


@dataclass(frozen=True)
class Log:
    """A step wrote to its standard output or error."""

    at_ms: int
    vertex: int
    #: ``stdout`` or ``stderr``.
    stream: str
    text: str


@dataclass(frozen=True)
class Progress:
    """Bytes were moved."""

    at_ms: int
    vertex: int
    label: str
    current_bytes: int
    total_bytes: int | None


@dataclass(frozen=True)
class Finished:
    """A vertex ended."""

    at_ms: int
    vertex: int
    #: ``hit``, ``executed``, ``shared``, ``failed`` or ``cancelled``.
    outcome: str
    miss: Miss | None
    message: str | None


@dataclass(frozen=True)
class Warning:
    """Something that does not stop the build and that a person should know."""

    at_ms: int
    message: str
    line: int | None
    #: What a build check found, if it was one that warns.
    finding: Finding | None = None


Event = Union[Planned, Started, Log, Progress, Finished, Warning]


@dataclass(frozen=True)
class Explained:
    """What a build would do with one vertex."""

    vertex: int
    name: str
    stage: str
    line: int | None
    inputs: tuple[int, ...]
    #: ``hit``, ``miss``, ``depends_on``, ``unknown`` or ``source``.
    verdict: str
    miss: Miss | None
    #: The vertices whose results it waits for.
    depends_on: tuple[int, ...]
    #: Why nothing can be said.
    why: str | None


def read_explained(text: str) -> list[Explained]:
    """Reads what a build would do."""
    return [
        Explained(
            **{
                **fields,
                "inputs": tuple(fields["inputs"]),
                "depends_on": tuple(fields["depends_on"] or ()),
                "miss": _miss(fields["miss"]),
            }
        )
        for fields in json.loads(text)
    ]


def _miss(fields: dict[str, Any] | None) -> Miss | None:
    if fields is None:
        return None
    changes = tuple(Change(**change) for change in fields["changes"])
    return Miss(reason=fields["reason"], text=fields["text"], changes=changes)


def read(text: str) -> Event | None:
    """Reads an event; nothing for one that this version does not know."""
    fields: dict[str, Any] = json.loads(text)
    kind = fields.pop("kind")
    if kind == "planned":
        vertices = tuple(
            Vertex(**{**vertex, "inputs": tuple(vertex["inputs"])})
            for vertex in fields["vertices"]
        )
        return Planned(at_ms=fields["at_ms"], vertices=vertices)
    if kind == "finished":
        return Finished(miss=_miss(fields.pop("miss")), **fields)
    if kind == "started":
        return Started(**fields)
    if kind == "log":
        return Log(**fields)
    if kind == "progress":
        return Progress(**fields)
    if kind == "warning":
        finding = fields.pop("finding", None)
        return Warning(**fields, finding=None if finding is None else Finding(**finding))
    return None


def reading(on_event: Callable[[Event], object] | None) -> Callable[[str], None] | None:
    """Returns a function that reads events and gives them to another."""
    if on_event is None:
        return None

    def tell(text: str) -> None:
        event = read(text)
        if event is not None:
            on_event(event)

    return tell
