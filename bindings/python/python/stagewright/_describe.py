"""What a Dockerfile offers, and what is better avoided in it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """Something in a Dockerfile that better were otherwise."""

    rule: str
    description: str
    url: str
    message: str
    help: str | None
    line: int
    end_line: int
    column: int
    #: The place in the Dockerfile, ready to print.
    drawing: str


@dataclass(frozen=True)
class CheckReport:
    """What the build checks found."""

    findings: tuple[Finding, ...]
    #: The file asks that findings fail the build, and there are some.
    failed: bool
    file: str
    text: str


@dataclass(frozen=True)
class Target:
    """A stage that can be built."""

    name: str | None
    #: It is built when no target is named.
    is_default: bool
    description: str | None
    base: str
    platform: str | None
    lines: tuple[int, int]


@dataclass(frozen=True)
class Targets:
    """The stages of a Dockerfile."""

    targets: tuple[Target, ...]
    text: str


@dataclass(frozen=True)
class OutlineArg:
    """A build argument that a target uses."""

    name: str
    description: str | None
    value: str | None
    lines: tuple[int, int]


@dataclass(frozen=True)
class OutlineMount:
    """A secret, an SSH agent or a cache that steps of a target mount."""

    name: str
    required: bool
    lines: tuple[int, int]


@dataclass(frozen=True)
class Outline:
    """What a target takes."""

    name: str | None
    description: str | None
    args: tuple[OutlineArg, ...]
    secrets: tuple[OutlineMount, ...]
    ssh: tuple[OutlineMount, ...]
    caches: tuple[OutlineMount, ...]
    text: str


def read_checks(text: str) -> CheckReport:
    """Reads what the build checks found."""
    fields: dict[str, Any] = json.loads(text)
    findings = tuple(Finding(**finding) for finding in fields.pop("findings"))
    return CheckReport(findings=findings, **fields)


def read_targets(text: str) -> Targets:
    """Reads the stages of a Dockerfile."""
    fields: dict[str, Any] = json.loads(text)
    targets = tuple(Target(**_lined(target)) for target in fields.pop("targets"))
    return Targets(targets=targets, **fields)


def read_outline(text: str) -> Outline:
    """Reads what a target takes."""
    fields: dict[str, Any] = json.loads(text)
    args = tuple(OutlineArg(**_lined(arg)) for arg in fields.pop("args"))
    secrets, ssh, caches = (
        tuple(OutlineMount(**_lined(mount)) for mount in fields.pop(kind))
        for kind in ("secrets", "ssh", "caches")
    )
    return Outline(args=args, secrets=secrets, ssh=ssh, caches=caches, **fields)


def _lined(fields: dict[str, Any]) -> dict[str, Any]:
    return {**fields, "lines": tuple(fields["lines"])}
