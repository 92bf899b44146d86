"""Builds from synchronous code."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import stagewright
from conftest import executed
from stagewright import Stage


def test_a_dockerfile_becomes_an_image_that_is_exported(
    builder: stagewright.Builder, project: Path, tmp_path: Path
) -> None:
    image = builder.build(path=project, tag="app:1", labels={"a": "b"})
    assert image.names == ["docker.io/library/app:1"]
    assert image.config["config"]["Cmd"] == ["node", "/app"]
    assert image.config["config"]["Labels"] == {"a": "b"}
    assert builder.image("app:1") == image
    digest = image.export(tmp_path / "out", names=["app:1"])
    assert digest is not None and (tmp_path / "out/index.json").exists()
    assert image.export(tmp_path / "files", kind="directory") is None
    assert (tmp_path / "files/app/src/index.js").read_text() == "one"
    assert image.sizes()["total_bytes"] == 5
    layers = builder.cache_usage()["layers"]
    assert layers["count"] > 0
    assert layers["shared_bytes"] > 0
    assert builder.verify_cache()["damaged"] == []


def test_a_second_build_says_what_is_cached_and_why_the_rest_is_not(
    builder: stagewright.Builder, project: Path
) -> None:
    assert len(executed(builder.start(project))) == 4
    assert executed(builder.start(project)) == []
    (project / "src/index.js").write_text("two")
    finished = [e for e in builder.start(project) if isinstance(e, stagewright.Finished)]
    misses = [event.miss for event in finished if event.miss is not None]
    changes = [change for miss in misses for change in miss.changes]
    assert any(c.input == "file" and c.name and "index.js" in c.name for c in changes), misses


def test_another_builder_runs_nothing_with_the_cache(
    builder: stagewright.Builder, project: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    image = builder.build(project, tag="app:1")
    assert image.export_cache(f"type=local,dest={cache},mode=max") is not None
    with stagewright.Builder(tmp_path / "other", environment={}) as other:
        assert executed(other.start(project, cache_from=[f"type=local,src={cache}"])) == []
    with pytest.raises(stagewright.StagewrightError, match="there is no token"):
        image.export_cache("type=gha")
    with pytest.raises(stagewright.StagewrightError, match="just built"):
        builder.image("app:1").export_cache(f"type=local,dest={cache}")


def test_a_build_is_explained_without_being_done(
    builder: stagewright.Builder, project: Path
) -> None:
    builder.build(project)
    assert all(one.verdict != "miss" for one in builder.explain(project))
    (project / "src/index.js").write_text("two")
    missed = [one for one in builder.explain(project) if one.miss is not None]
    assert [one.name for one in missed] == ["[build 3/3] COPY src src"]
    assert missed[0].miss and "index.js" in (missed[0].miss.changes[0].name or "")
    with pytest.raises(TypeError):
        builder.explain(project, no_such_option=1)  # type: ignore[call-arg]


def test_an_image_is_attested_copied_and_loaded(
    builder: stagewright.Builder, project: Path, tmp_path: Path
) -> None:
    builder.build(project, tag="app:1", provenance="mode=min", sbom=True)
    archive = tmp_path / "app.tar"
    told: list[stagewright.Event] = []
    digest = builder.copy_image("app:1", f"oci-archive:{archive}:app:1", on_event=told.append)
    assert [one.outcome for one in told if isinstance(one, stagewright.Finished)] == ["executed"]
    found = builder.inspect_image(f"oci-archive:{archive}", predicates=True)
    assert found["digest"] == digest
    kinds = [one["predicateType"] for one in found["attestations"]]
    assert kinds == ["https://spdx.dev/Document", "https://slsa.dev/provenance/v1"]
    assert found["attestations"][0]["predicate"]["spdxVersion"] == "SPDX-2.3"
    with stagewright.Builder(tmp_path / "other", environment={}) as other:
        assert other.load_images(archive) == ["docker.io/library/app:1"]
        assert other.image("app:1") == builder.image("app:1")
        with pytest.raises(stagewright.UnsupportedError):
            other.copy_image("app:1", "dir:x")
        with pytest.raises(stagewright.UnsupportedError):
            other.copy_image("app:1", "dir:x", on_event=told.append)
        with pytest.raises(ZeroDivisionError):
            other.load_images(archive, on_event=lambda _: 1 // 0)
        with pytest.raises(stagewright.RequestError):
            other.build(project, provenance="mode=most")


def test_what_nobody_needs_is_pruned(builder: stagewright.Builder, project: Path) -> None:
    builder.build(project)
    pruned = builder.prune_cache(all=True)
    assert pruned["bytes"] > 0
    assert "layer" in [item["kind"] for item in pruned["items"]]
    assert builder.cache_usage()["layers"]["count"] == 0
    with pytest.raises(stagewright.RequestError):
        builder.prune_cache(kinds=["everything"])


def test_arguments_are_those_that_other_clients_have(builder: stagewright.Builder) -> None:
    dockerfile = io.BytesIO(b"FROM scratch AS one\nARG V\nENV V=$V\nFROM scratch\n")
    image = builder.build(fileobj=dockerfile, buildargs={"V": "7"}, target="one", nocache=True)
    assert "V=7" in image.config["config"]["Env"]


def test_names_of_other_clients_mean_the_same(
    builder: stagewright.Builder, project: Path
) -> None:
    (project / "Other").write_text("FROM scratch\nARG V\nLABEL v=$V\n")
    image = builder.build(project, file="Other", build_args={"V": "7"}, tags="app:2", no_cache=True)
    assert image.config["config"]["Labels"] == {"v": "7"}
    assert image.names == ["docker.io/library/app:2"]


def test_images_of_several_platforms_leave_as_one(
    builder: stagewright.Builder, project: Path, tmp_path: Path
) -> None:
    platforms = ("linux/amd64", "linux/arm64")
    images = [builder.build(project, platform=platform) for platform in platforms]
    digest = stagewright.export_images(
        images, tmp_path / "out", names=["app:1"], annotations={"index:org.example": "x"}
    )
    assert digest is not None
    index = json.loads((tmp_path / "out/blobs" / digest.replace(":", "/")).read_text())
    found = [manifest["platform"]["architecture"] for manifest in index["manifests"]]
    assert sorted(found) == ["amd64", "arm64"]
    assert index["annotations"] == {"org.example": "x"}
    with pytest.raises(TypeError, match="Image is needed"):
        stagewright.export_images(["app:1"], tmp_path / "out")  # type: ignore[list-item]
    with pytest.raises(ValueError, match="level|manifest"):
        images[0].export(tmp_path / "out", annotations={"nowhere:a": "b"})


def test_layers_say_when_they_were_used(builder: stagewright.Builder, project: Path) -> None:
    builder.build(project)
    uses = builder.layer_uses()
    assert len(uses) == 4 and all(layer["uses"] >= 1 for layer in uses), uses


def test_a_limit_of_the_store_is_kept(project: Path, tmp_path: Path) -> None:
    with stagewright.Builder(tmp_path / "small", environment={}, store_limit=1) as small:
        small.build(project)
        small.build(project)
        assert small.cache_usage()["layers"]["count"] <= 4
    with pytest.raises(ValueError):
        stagewright.Builder(tmp_path / "small", store_limit=-1)


def test_room_on_the_disk_of_the_store_is_kept_free(project: Path, tmp_path: Path) -> None:
    everything = 1 << 60
    with stagewright.Builder(tmp_path / "kept", environment={}, store_min_free=everything) as kept:
        kept.build(project)
        assert kept.build(project).config
        assert kept.cache_usage()["layers"]["count"] == 4
        pruned = kept.prune_cache(min_free_bytes=1)
        assert pruned["bytes"] == 0, pruned
        pruned = kept.prune_cache(min_free_bytes=everything, reserved_bytes=1 << 40)
        assert pruned["bytes"] == 0, pruned
        assert kept.prune_cache(max_used_bytes=1)["bytes"] > 0
    with stagewright.Builder(
        tmp_path / "small", environment={}, store_min_free=everything, store_reserved=1
    ) as small:
        small.build(project)
        small.build(text="FROM scratch\nCOPY package.json /\n", path=project)
        assert small.cache_usage()["layers"]["count"] == 1


def test_events_go_to_the_logger(
    builder: stagewright.Builder, project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "stagewright"):
        builder.build(project)
    assert "COPY package.json" in caplog.text
    assert "executed" in caplog.text


def test_a_stage_in_code_hits_what_the_dockerfile_made(
    builder: stagewright.Builder, project: Path
) -> None:
    builder.build(project)
    build = Stage.scratch().workdir("/build").copy("package.json", "./").copy("src", "src")
    app = Stage.scratch().copy("/build", "/app", from_=build).cmd(["node", "/app"])
    assert executed(builder.start(project, stage=app)) == []
    assert app.to_dockerfile() == (
        "FROM scratch AS stage-0\nWORKDIR /build\nCOPY package.json ./\nCOPY src src\n\n"
        'FROM scratch\nCOPY --from=stage-0 /build /app\nCMD ["node", "/app"]\n'
    )


def test_stages_in_code_and_dockerfiles_mix(builder: stagewright.Builder, project: Path) -> None:
    image = builder.build(
        project,
        dockerfile="Dockerfile",
        stage=Stage.from_("build").copy("/x.json", "/y.json", from_="extra"),
        build_contexts={"extra": Stage.scratch().copy("package.json", "/x.json")},
    )
    assert len(image.config["rootfs"]["diff_ids"]) == 4


@pytest.mark.parametrize(
    ("text", "kind", "code"),
    [
        ("FROM scratch\nCOPPY a b\n", stagewright.DockerfileError, "dockerfile"),
        ("FROM scratch\nCOPY missing /\n", stagewright.NotFoundError, "not_found"),
    ],
)
def test_failures_are_exceptions_by_kind(
    builder: stagewright.Builder, text: str, kind: type[stagewright.StagewrightError], code: str
) -> None:
    with pytest.raises(kind) as caught:
        builder.build(text=text)
    assert caught.value.code == code
    assert caught.value.line == 2
    assert caught.value.drawing and "2 |" in caught.value.drawing


def test_wrong_options_and_missing_files_raise_what_python_raises(
    builder: stagewright.Builder, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="target"):
        builder.build(text="FROM scratch\n", target="nowhere")
    with pytest.raises(FileNotFoundError):
        builder.build(tmp_path / "missing")
    with pytest.raises(stagewright.RequestError, match="network|variant"):
        builder.build(text="FROM scratch\n", network_mode="bridge")
    with pytest.raises(TypeError):
        builder.build(text="FROM scratch\n", no_such_option=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Stage.from_(7)  # type: ignore[arg-type]
    wrong: list[dict[str, Any]] = [
        {"path": 7},
        {"labels": ["a"]},
        {"buildargs": {"A": 1}},
        {"tags": [1]},
        {"stage": "alpine"},
        {"secrets": {"a": 1}},
        {"target": object()},
        {"step_timeout": "1"},
        {"cache_ttl": "1"},
        {"cache_ttl": float("nan")},
        {"step_timeout": float("inf")},
        {"rm": True},
        {"file": "a", "dockerfile": "b"},
    ]
    for options in wrong:
        with pytest.raises(TypeError) as caught:
            builder.build(**options)
        assert isinstance(caught.value, stagewright.RequestError), options
        assert caught.value.code == "request"
    with pytest.raises(TypeError, match="leaves no containers"):
        builder.build(rm=True)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Stage.scratch().env("A", 1)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        stagewright.Builder(7)  # type: ignore[arg-type]
    with pytest.raises(stagewright.NotFoundError):
        builder.image("nothing:1")


def test_the_wheel_brings_the_command() -> None:
    command = Path(sys.executable).parent / "stagewright"
    shown = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == f"stagewright {stagewright.__version__}"
