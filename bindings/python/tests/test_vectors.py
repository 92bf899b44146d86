"""The vectors that every language runs."""

from __future__ import annotations

import json
import os
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import stagewright
from conftest import needs_root
from stagewright import Mount, Stage

VECTORS = Path(os.environ["STAGEWRIGHT_TEST_VECTORS"])


def vectors(name: str) -> list[Any]:
    found: list[Any] = json.loads((VECTORS / name).read_text())
    return found


def builds(commands: bool) -> list[Any]:
    return [case for case in vectors("builds.json") if case.get("commands", False) == commands]


def source(value: Any, stages: list[Stage]) -> Any:
    return stages[value["stage"]] if isinstance(value, dict) else value


def secret(value: Any) -> Any:
    return None if value is None else value["text"]


def mount(described: dict[str, Any], stages: list[Stage]) -> Mount:
    (kind, given), = described.items()
    fields = dict(given)
    if kind == "cache":
        return Mount.cache(fields.pop("target"), **fields)
    if kind == "bind":
        from_ = source(fields.pop("from", None), stages)
        return Mount.bind(fields.pop("target"), from_=from_, **fields)
    if kind == "tmpfs":
        return Mount.tmpfs(fields.pop("target"), **fields)
    return Mount.secret(fields.pop("id"), secret(fields.pop("value", None)), **fields)


def stage_of(described: dict[str, Any], stages: list[Stage]) -> Stage:
    """Says in code what is described."""
    names = {name: described.get(name) for name in ("name", "platform")}
    stage = Stage.from_(source(described["base"], stages), **names)
    for step in described.get("steps", ()):
        (verb, given), = step.items()
        if verb == "run":
            mounts = [mount(one, stages) for one in given.get("mounts", ())]
            stage = stage.run(given["command"], mounts=mounts, network=given.get("network"))
        elif verb == "copy":
            fields = dict(given)
            paths = [*fields.pop("sources"), fields.pop("dest")]
            from_ = source(fields.pop("from", None), stages)
            stage = stage.copy(*paths, from_=from_, **fields)
        elif verb in ("env", "arg", "label"):
            stage = getattr(stage, verb)(*given)
        else:
            stage = getattr(stage, verb)(given)
    return stage


def stages_of(described: list[dict[str, Any]]) -> list[Stage]:
    stages: list[Stage] = []
    for one in described:
        stages.append(stage_of(one, stages))
    return stages


def options_of(request: dict[str, Any]) -> dict[str, Any]:
    """Says with the arguments of ``build`` what is asked for."""
    given = dict(request)
    stages = stages_of(given.pop("stages", []))
    options: dict[str, Any] = {}
    for name, value in given.items():
        if name == "context":
            options["path"] = value
        elif name == "dockerfile_text":
            options["text"] = value
        elif name == "stage":
            options["stage"] = stages[value]
        elif name == "build_contexts":
            options[name] = {key: source(it, stages) for key, it in value.items()}
        elif name == "secrets":
            options[name] = {key: secret(it) for key, it in value.items()}
        elif name == "step_timeout_ms":
            options["step_timeout"] = value / 1000
        elif name == "cache_ttl_ms":
            options["cache_ttl"] = timedelta(milliseconds=value)
        else:
            options[name] = value
    return options


def holds(expected: Any, found: Any) -> bool:
    if isinstance(expected, dict):
        get = found.get if isinstance(found, dict) else lambda name: getattr(found, name)
        return all(holds(value, get(name)) for name, value in expected.items())
    if isinstance(expected, list):
        return len(expected) == len(found) and all(map(holds, expected, found))
    return bool(expected == found)


class Told:
    """Reads all events of a build, and checks their order."""

    def __init__(self, build: stagewright.Build, cancel: str | None) -> None:
        self.executed: list[str] = []
        self.misses: dict[str, stagewright.Miss] = {}
        self.log = ""
        names: dict[int, str] = {}
        opened: set[int] = set()
        ended: set[int] = set()
        at_ms = 0
        for event in build:
            assert event.at_ms >= at_ms
            at_ms = event.at_ms
            if isinstance(event, stagewright.Planned):
                names.update((vertex.id, vertex.name) for vertex in event.vertices if vertex.step)
            elif isinstance(event, stagewright.Started):
                assert event.vertex not in opened
                opened.add(event.vertex)
            elif isinstance(event, stagewright.Log):
                assert event.vertex in opened
                self.log += event.text
                if cancel is not None and cancel in self.log:
                    build.cancel()
            elif isinstance(event, stagewright.Progress):
                assert event.vertex not in ended
            elif isinstance(event, stagewright.Finished):
                assert event.vertex not in ended
                opened.discard(event.vertex)
                ended.add(event.vertex)
                name = names.get(event.vertex)
                if name is not None and event.outcome == "executed":
                    self.executed.append(name)
                if name is not None and event.miss is not None:
                    self.misses[name] = event.miss
        assert not opened, "these began and did not end"

    def check(self, step: dict[str, Any]) -> None:
        if "executed" in step:
            assert sorted(self.executed) == sorted(step["executed"])
        for miss in step.get("misses", ()):
            found = self.misses[miss["step"]]
            assert found.reason == miss["reason"]
            changes = [(change.input, change.name or "") for change in found.changes]
            assert any(kind == miss["input"] and miss["name"] in name for kind, name in changes)
        if "counted" in step:
            assert self.log == "".join(f"{number}\n" for number in range(1, step["counted"] + 1))


def check_image(step: dict[str, Any], image: stagewright.Image) -> None:
    assert holds(step.get("config", {}), image.config["config"]), image.config
    if "layers" in step:
        assert len(image.config["rootfs"]["diff_ids"]) == step["layers"]
    assert step.get("id", image.id) == image.id
    assert step.get("names", image.names) == image.names


def check_error(expected: dict[str, Any], error: stagewright.StagewrightError) -> None:
    for name, value in expected.items():
        found = getattr(error, name)
        same = value in (found or "") if name in ("message", "help") else value == found
        assert same, (name, value, found)


def say(name: str, answer: Any) -> Any:
    if name != "explain":
        return answer
    return [{"name": one.name, "reason": one.miss.reason} for one in answer if one.miss]


def run_step(builder: stagewright.Builder, project: Path, step: dict[str, Any]) -> None:
    for name, text in step.get("write", {}).items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    request = json.dumps(step["request"]).replace("{project}", str(project))
    options = options_of(json.loads(request))
    try:
        if "call" in step:
            answer = getattr(builder, step["call"])(**options)
            assert holds(step["says"], say(step["call"], answer)), answer
            return
        build = builder.start(**options)
        told = Told(build, step.get("cancel"))
        image = build.wait()
        told.check(step)
    except stagewright.StagewrightError as error:
        if "error" not in step:
            raise
        check_error(step["error"], error)
    else:
        assert "error" not in step
        check_image(step, image)


@pytest.mark.parametrize("case", vectors("stages.json"), ids=lambda case: str(case["name"]))
def test_stages_are_written_as_in_every_language(case: dict[str, Any]) -> None:
    try:
        written = stages_of(case["stages"])[-1].to_dockerfile()
    except stagewright.StagewrightError as error:
        assert error.code == case["code"]
    else:
        assert written == case["dockerfile"]


@pytest.mark.parametrize("case", builds(commands=False), ids=lambda case: str(case["name"]))
def test_builds_give_what_they_give_in_every_language(
    case: dict[str, Any], builder: stagewright.Builder, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    for step in case["steps"]:
        run_step(builder, project, step)


@needs_root
@pytest.mark.parametrize("case", builds(commands=True), ids=lambda case: str(case["name"]))
def test_commands_give_what_they_give_in_every_language(
    case: dict[str, Any], builder: stagewright.Builder, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    program = shutil.which("busybox")
    assert program is not None
    shutil.copy(program, project / "busybox")
    for step in case["steps"]:
        run_step(builder, project, step)
