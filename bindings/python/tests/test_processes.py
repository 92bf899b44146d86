"""Threads, signals, forks, and what is left when all is done."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

import stagewright
from conftest import needs_root


def test_threads_share_a_builder(builder: stagewright.Builder, project: Path) -> None:
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        images = list(pool.map(lambda _: builder.build(project), range(32)))
    assert len({image.config["rootfs"]["diff_ids"][0] for image in images}) == 1


def test_fifty_threads_of_all_sorts(builder: stagewright.Builder, project: Path) -> None:
    def one(number: int) -> str:
        if number % 5 == 0:
            build = builder.start(text=f"FROM scratch\nLABEL n={number}\nCOPY missing /\n")
        else:
            build = builder.start(project, labels={"n": str(number)})
        if number % 7 == 0:
            build.cancel()
        try:
            image = build.wait()
        except stagewright.StagewrightError as error:
            return error.code
        assert image.config["config"]["Labels"] == {"n": str(number)}
        return "built"

    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        codes = list(pool.map(one, range(50)))
    for number, code in enumerate(codes):
        expected = {"not_found"} if number % 5 == 0 else {"built"}
        if number % 7 == 0:
            expected.add("cancelled")
        assert code in expected, (number, code)


def _script(tmp_path: Path, busybox: str, text: str) -> subprocess.Popen[str]:
    script = f"""
import signal, sys, stagewright
# Who runs the tests in the background may have it ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
builder = stagewright.Builder({str(tmp_path / "store")!r}, environment={{}})
image = builder.build(text="FROM busybox\\nENV A=1\\n", build_contexts={{"busybox": {busybox!r}}})
"""
    return subprocess.Popen(
        [sys.executable, "-c", script + textwrap.dedent(text)], stdout=subprocess.PIPE, text=True
    )


@needs_root
def test_an_image_is_run(tmp_path: Path, busybox: str) -> None:
    process = _script(
        tmp_path,
        busybox,
        """
        code = image.run(["sh", "-c", "echo $A$B $PWD; exit 4"], env={"B": "2"}, workdir="/tmp")
        print(code)
        try:
            image.run()
        except stagewright.RequestError as error:
            print(error.code)
        """,
    )
    out, _ = process.communicate(timeout=60)
    # The command writes at once, this process's own words wait for its end.
    assert sorted(out.splitlines()) == ["12 /tmp", "4", "request"]


@needs_root
def test_an_interrupt_stops_an_image_that_runs(tmp_path: Path, busybox: str) -> None:
    process = _script(
        tmp_path,
        busybox,
        """
        try:
            image.run(["sh", "-c", "echo ready; sleep 1000"])
        except KeyboardInterrupt:
            print("interrupted")
        """,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert out == "interrupted\n"


@needs_root
def test_other_threads_run_while_a_build_does(builder: stagewright.Builder, busybox: str) -> None:
    counted = 0
    over = threading.Event()

    def count() -> None:
        nonlocal counted
        while not over.is_set():
            counted += 1

    thread = threading.Thread(target=count)
    thread.start()
    try:
        text = "FROM busybox\nRUN sleep 0.3\n"
        builder.build(text=text, build_contexts={"busybox": busybox})
    finally:
        over.set()
        thread.join()
    assert counted > 1000


@needs_root
def test_an_interrupt_raises_and_leaves_nothing_running(tmp_path: Path, busybox: str) -> None:
    marker = f"{os.getpid()}.125"
    script = textwrap.dedent(
        f"""
        import os, signal, stagewright, threading
        # Who runs the tests in the background may have it ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        builder = stagewright.Builder({str(tmp_path / "store")!r}, environment={{}})
        build = builder.start(
            text="FROM busybox\\nRUN echo ready; sleep {marker}\\n",
            build_contexts={{"busybox": {busybox!r}}},
        )
        for event in build:
            if isinstance(event, stagewright.Log):
                break
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            build.wait()
        except KeyboardInterrupt:
            assert build.done
            print("interrupted")
        """
    )
    out = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert out.stdout == "interrupted\n", out.stderr
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert marker.encode() not in process.read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            pass


@needs_root
def test_a_command_that_fails_tells_its_code_and_its_last_words(
    builder: stagewright.Builder, busybox: str
) -> None:
    with pytest.raises(stagewright.StepFailedError) as caught:
        builder.build(
            text="FROM busybox\nRUN echo last words; exit 7\n",
            build_contexts={"busybox": busybox},
        )
    assert caught.value.exit_code == 7
    assert caught.value.code == "step_failed"
    assert "last words" in "".join(caught.value.log_tail)


def test_a_forked_child_is_told_to_make_its_own(
    builder: stagewright.Builder, project: Path
) -> None:
    builder.build(project)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            builder.build(project)
            os.write(writer, b"built")
        except RuntimeError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    said = os.read(reader, 1000).decode()
    os.close(reader)
    assert "forked" in said


def _build(arguments: tuple[str, str]) -> str:
    store, project = arguments
    with stagewright.Builder(store, environment={}) as builder:
        return str(builder.build(project, source_date_epoch=0).id)


def test_processes_of_a_pool_build_in_one_store(project: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(3) as pool:
        ids = pool.map(_build, [(str(tmp_path / "store"), str(project))] * 6)
    assert len(set(ids)) == 1


def test_a_thousand_warm_builds_leave_nothing(builder: stagewright.Builder, project: Path) -> None:
    def held() -> tuple[int, int, int]:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        fds = len(os.listdir("/proc/self/fd"))
        return fds, len(os.listdir("/proc/self/task")), pages * os.sysconf("SC_PAGE_SIZE")

    for _ in range(200):
        builder.build(project)
    fds, threads, resident = held()
    for _ in range(1000):
        builder.build(project)
    fds_after, threads_after, resident_after = held()
    assert fds_after <= fds + 2
    # The runtime lets idle threads go and makes new ones; it never makes one for each build.
    assert threads_after <= threads + 16
    assert resident_after - resident < 16 << 20
