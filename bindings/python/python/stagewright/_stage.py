"""Stages in code."""

from __future__ import annotations

import json
import os
from typing import Any, Sequence, Union

from ._errors import RequestTypeError
from ._native import to_dockerfile

_Command = Union[str, Sequence[str]]
_Secret = Union[str, bytes, "os.PathLike[str]"]


def _secret(value: _Secret) -> dict[str, Any]:
    if isinstance(value, str):
        return {"text": value}
    if isinstance(value, bytes):
        return {"bytes": list(value)}
    if isinstance(value, os.PathLike):
        return {"file": os.fspath(value)}
    raise RequestTypeError(f"a secret is a text, bytes or a path, not {type(value).__name__}")


def _command(command: _Command) -> str | list[str]:
    return command if isinstance(command, str) else list(command)


def _paths(paths: tuple[Any, ...]) -> list[Any]:
    return [os.fspath(path) if isinstance(path, os.PathLike) else path for path in paths]


def _check(name: str, value: Any) -> None:
    """Refuses what is neither a text nor anything else that a step is made of."""
    if isinstance(value, dict):
        for key, part in value.items():
            _check(key, part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            _check(name, part)
    elif not (value is None or isinstance(value, (str, bool, Stage, Mount))):
        raise RequestTypeError(f"{name} takes texts, not {value!r}")


class Mount:
    """Something that a command sees besides the files of its stage."""

    def __init__(self, kind: str, fields: dict[str, Any], source: Any = None) -> None:
        self._kind = kind
        self._fields = fields
        self._source = source

    @staticmethod
    def cache(target: str, *, id: str | None = None, sharing: str | None = None) -> Mount:
        """A folder that is kept between builds; ``sharing`` is ``shared``, ``private`` or ``locked``."""
        return Mount("cache", {"target": target, "id": id, "sharing": sharing})

    @staticmethod
    def bind(
        target: str,
        *,
        from_: str | Stage | None = None,
        source: str | None = None,
        writable: bool = False,
    ) -> Mount:
        """Files of the context, a stage or an image."""
        fields = {"target": target, "source": source, "writable": writable}
        return Mount("bind", fields, from_)

    @staticmethod
    def tmpfs(target: str, *, size_bytes: int | None = None) -> Mount:
        """An empty folder in memory."""
        return Mount("tmpfs", {"target": target, "size_bytes": size_bytes})

    @staticmethod
    def secret(
        id: str,
        value: _Secret | None = None,
        *,
        target: str | None = None,
        env: str | None = None,
    ) -> Mount:
        """A secret; its value is a text, bytes or a path, or is given with the build."""
        given = None if value is None else _secret(value)
        return Mount("secret", {"id": id, "target": target, "env": env, "value": given})

    def __repr__(self) -> str:
        return f"<stagewright.Mount {self._kind}>"

    def _json(self, table: _Table) -> dict[str, Any]:
        fields = dict(self._fields)
        if self._source is not None:
            fields["from"] = table.name(self._source)
        return {self._kind: fields}


class Stage:
    """A stage of a build, as a value: each method returns a longer stage.

    ``$NAME`` in arguments stands for a variable as in a Dockerfile, and ``\\$`` for a dollar.
    Commands of ``run`` belong to the shell entirely.
    """

    def __init__(
        self,
        base: str | Stage,
        *,
        name: str | None = None,
        platform: str | None = None,
        _steps: tuple[dict[str, Any], ...] = (),
    ) -> None:
        if not isinstance(base, (str, Stage)):
            kind = type(base).__name__
            raise RequestTypeError(f"a stage starts from a name or a stage, not {kind}")
        self._base = base
        self._name = name
        self._platform = platform
        self._steps = _steps

    @staticmethod
    def from_(base: str | Stage, *, name: str | None = None, platform: str | None = None) -> Stage:
        """Starts from an image, a stage of the build's Dockerfile, or another stage."""
        return Stage(base, name=name, platform=platform)

    @staticmethod
    def scratch(*, name: str | None = None) -> Stage:
        """Starts from nothing."""
        return Stage("scratch", name=name)

    def __repr__(self) -> str:
        return f"<stagewright.Stage {self._name or self._base!r} with {len(self._steps)} steps>"

    def _with(self, step: dict[str, Any]) -> Stage:
        for name, value in step.items():
            _check(name, value)
        return Stage(
            self._base, name=self._name, platform=self._platform, _steps=(*self._steps, step)
        )

    def named(self, name: str) -> Stage:
        """Gives the stage a name, for events and for ``no_cache_filter``."""
        return Stage(self._base, name=name, platform=self._platform, _steps=self._steps)

    def run(
        self, command: _Command, *, mounts: Sequence[Mount] = (), network: str | None = None
    ) -> Stage:
        """Runs a command: a text in the shell, or a list without one."""
        return self._with(
            {"run": {"command": _command(command), "mounts": tuple(mounts), "network": network}}
        )

    def copy(
        self,
        *paths: str | os.PathLike[str],
        from_: str | Stage | None = None,
        chown: str | None = None,
        chmod: str | None = None,
        link: bool = False,
        parents: bool = False,
        exclude: Sequence[str] = (),
    ) -> Stage:
        """Copies sources to a destination, which is the last of the paths."""
        if len(paths) < 2:
            raise RequestTypeError("copy() takes sources and a destination")
        *sources, dest = _paths(paths)
        fields = {
            "sources": sources,
            "dest": dest,
            "from": from_,
            "chown": chown,
            "chmod": chmod,
            "link": link,
            "parents": parents,
            "exclude": list(exclude),
        }
        return self._with({"copy": fields})

    def workdir(self, path: str | os.PathLike[str]) -> Stage:
        """Sets the working directory, and makes it."""
        return self._with({"workdir": _paths((path,))[0]})

    def env(self, name: str, value: str) -> Stage:
        """Sets a variable of the environment."""
        return self._with({"env": [name, value]})

    def arg(self, name: str, default: str | None = None) -> Stage:
        """Declares a build argument."""
        return self._with({"arg": [name, default]})

    def label(self, name: str, value: str) -> Stage:
        """Sets a label."""
        return self._with({"label": [name, value]})

    def user(self, user: str) -> Stage:
        """Sets the user of what follows and of the image."""
        return self._with({"user": user})

    def expose(self, port: int | str) -> Stage:
        """Names a port that the image listens on."""
        return self._with({"expose": str(port) if isinstance(port, int) else port})

    def volume(self, path: str) -> Stage:
        """Names a folder that a container keeps apart."""
        return self._with({"volume": path})

    def stop_signal(self, signal: str) -> Stage:
        """Sets the signal that stops a container."""
        return self._with({"stop_signal": signal})

    def shell(self, argv: Sequence[str]) -> Stage:
        """Sets the shell of commands that are texts."""
        return self._with({"shell": list(argv)})

    def cmd(self, command: _Command) -> Stage:
        """Sets the command of the image."""
        return self._with({"cmd": _command(command)})

    def entrypoint(self, command: _Command) -> Stage:
        """Sets the entrypoint of the image."""
        return self._with({"entrypoint": _command(command)})

    def instruction(self, text: str) -> Stage:
        """Adds an instruction as it is written in a Dockerfile."""
        return self._with({"instruction": text})

    def to_dockerfile(self) -> str:
        """Returns the Dockerfile that says the same."""
        table = _Table()
        table.name(self)
        return to_dockerfile(json.dumps(table.stages))


class _Table:
    """Stages as a list in which each comes after those that it needs."""

    def __init__(self) -> None:
        self.stages: list[dict[str, Any]] = []
        self._known: dict[int, tuple[int, Stage]] = {}

    def name(self, stage: str | Stage) -> Any:
        if not isinstance(stage, Stage):
            return stage
        known = self._known.get(id(stage))
        if known is None:
            described = {
                "base": self.name(stage._base),
                "name": stage._name,
                "platform": stage._platform,
                "steps": [self._step(step) for step in stage._steps],
            }
            # The stage is kept, so that no other gets its id.
            known = (len(self.stages), stage)
            self.stages.append(described)
            self._known[id(stage)] = known
        return {"stage": known[0]}

    def _step(self, step: dict[str, Any]) -> dict[str, Any]:
        if "run" in step:
            mounts = [mount._json(self) for mount in step["run"]["mounts"]]
            return {"run": {**step["run"], "mounts": mounts}}
        if "copy" in step:
            return {"copy": {**step["copy"], "from": self.name(step["copy"]["from"])}}
        return step
