"""What hosts do that a step must survive, and what must not survive its host."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Callable, Iterator

import pytest

from conftest import needs_root

#: How long what was killed may take to be gone on a busy machine.
GONE_TIME_MAX = 30.0

HOST = """
import ctypes, json, os, signal, sys, threading, time
import stagewright

store, busybox, marker = sys.argv[1:]
builder = stagewright.Builder(store, environment={})
contexts = {"busybox": busybox}


def exit_of(number, command=None):
    line = command or f"echo {number}; exit {number}"
    try:
        builder.build(text=f"FROM busybox\\nENV N={number}\\nRUN {line}\\n", build_contexts=contexts)
    except stagewright.StepFailedError as error:
        return error.exit_code, error.log_tail
    return 0, []
"""

SLEEPERS = (
    "sleep {marker} & setsid sleep {marker} & setsid sh -c 'sleep {marker} & sleep {marker}' & "
    "(sleep {marker} & sleep {marker}) & echo ready; sleep {marker}"
)


@pytest.fixture
def host(tmp_path: Path, busybox: str) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Starts Python programs that build; each has ``builder``, ``exit_of`` and ``marker``."""
    started: list[subprocess.Popen[str]] = []

    def start(script: str) -> subprocess.Popen[str]:
        text = HOST + textwrap.dedent(script)
        arguments = [str(tmp_path / "store"), busybox, marker_of(tmp_path)]
        process = subprocess.Popen(
            [sys.executable, "-c", text, *arguments], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def marker_of(folder: Path) -> str:
    """A number of seconds that no other test sleeps for."""
    return f"100000.{abs(hash(str(folder))) % 10**9}"


def lines(process: subprocess.Popen[str]) -> list[str]:
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return out.splitlines()


def running(marker: str) -> list[int]:
    """The processes that have the marker among their arguments, but for the hosts."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (folder / "cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if marker.encode() in arguments and sys.executable.encode() not in arguments:
            found.append(int(folder.name))
    return found


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + GONE_TIME_MAX
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def children(process: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == process:
            found.append(int(stat.parent.name))
    return found


@needs_root
def test_exit_codes_are_right_while_a_thread_reaps_every_child(
    host: Callable[[str], subprocess.Popen[str]],
) -> None:
    process = host(
        """
        def reap():
            while True:
                try:
                    os.waitpid(-1, 0)
                except ChildProcessError:
                    pass
        threading.Thread(target=reap, daemon=True).start()
        for number in range(1, 13):
            code, tail = exit_of(number)
            assert (code, tail) == (number, [str(number)]), (number, code, tail)
        print("right")
        """
    )
    assert lines(process) == ["right"]


@needs_root
def test_exit_codes_are_right_where_the_end_of_children_is_ignored(
    host: Callable[[str], subprocess.Popen[str]],
) -> None:
    process = host(
        """
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        for number in range(1, 13):
            code, tail = exit_of(number)
            assert (code, tail) == (number, [str(number)]), (number, code, tail)
        assert signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN
        print("right")
        """
    )
    assert lines(process) == ["right"]


@needs_root
def test_a_step_of_another_user_leaves_the_host_as_it_was(
    host: Callable[[str], subprocess.Popen[str]],
) -> None:
    process = host(
        """
        text = "FROM busybox\\nUSER 1000\\nRUN true\\n"
        builder.build(text=text, build_contexts=contexts)
        print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), os.getuid(), os.listdir("/proc/self/fd") != [])
        """
    )
    assert lines(process) == [f"1 {os.getuid()} True"]


@needs_root
def test_the_thread_that_started_a_build_may_end(
    host: Callable[[str], subprocess.Popen[str]],
) -> None:
    process = host(
        """
        builds = []
        def begin():
            text = "FROM busybox\\nRUN sleep 0.3; exit 5\\n"
            builds.append(builder.start(text=text, build_contexts=contexts))
        thread = threading.Thread(target=begin)
        thread.start()
        thread.join()
        try:
            builds[0].wait()
        except stagewright.StepFailedError as error:
            print(error.exit_code)
        """
    )
    assert lines(process) == ["5"]


@needs_root
def test_eight_threads_get_their_own_codes_and_outputs(
    host: Callable[[str], subprocess.Popen[str]],
) -> None:
    process = host(
        """
        wrong = []
        def run(of):
            for turn in range(4):
                number = 10 + of * 4 + turn
                code, tail = exit_of(number)
                if (code, tail) != (number, [str(number)]):
                    wrong.append((number, code, tail))
        threads = [threading.Thread(target=run, args=(of,)) for of in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        print(wrong)
        """
    )
    assert lines(process) == ["[]"]


@needs_root
def test_a_host_of_a_gigabyte_starts_steps(
    host: Callable[[str], subprocess.Popen[str]],
) -> None:
    process = host(
        """
        import resource
        held = bytearray(1 << 30)
        held[::4096] = b"x" * (1 << 18)
        # A copy of this process would be above the limit.
        now = int(open("/proc/self/statm").read().split()[0]) * 4096
        resource.setrlimit(resource.RLIMIT_AS, (now + (1 << 29), now + (1 << 29)))
        print(exit_of(3))
        """
    )
    assert lines(process) == ["(3, ['3'])"]


@needs_root
@pytest.mark.parametrize("victim", ["host", "sandbox"])
def test_what_is_killed_leaves_no_process_and_no_mount(
    host: Callable[[str], subprocess.Popen[str]], tmp_path: Path, victim: str
) -> None:
    marker = marker_of(tmp_path)
    process = host(
        f"""
        build = builder.start(
            text="FROM busybox\\nRUN " + {json.dumps(SLEEPERS)}.format(marker=marker) + "\\n",
            build_contexts=contexts,
        )
        for event in build:
            if isinstance(event, stagewright.Log):
                print("ready", flush=True)
        try:
            build.wait()
        except stagewright.StagewrightError as error:
            print(error.code)
        """
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    wait_until(lambda: len(running(marker)) >= 7)
    if victim == "host":
        process.kill()
    else:
        for child in children(process.pid):
            os.kill(child, signal.SIGKILL)
    wait_until(lambda: running(marker) == [])
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    if victim == "sandbox":
        assert lines(process) == ["sandbox"]


#: Everything of a process that a library could have changed.
STATE = """
import subprocess


def state():
    status = open("/proc/self/status").read().splitlines()
    names = ("Umask", "Uid", "Gid", "Groups", "SigBlk", "SigIgn", "SigCgt", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp")
    script = "sleep 600 > /dev/null 2>&1 & echo $!"
    orphan = int(subprocess.check_output(["/bin/sh", "-c", script]))
    with open(f"/proc/{orphan}/status") as about:
        adopted = f"PPid:\\t{os.getpid()}\\n" in about.readlines()
    os.kill(orphan, signal.SIGKILL)
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    places = [os.readlink(f"/proc/self/{name}") for name in ("cwd", "root")]
    spaces = [os.readlink(f"/proc/self/ns/{name}") for name in sorted(os.listdir("/proc/self/ns"))]
    files = sorted(os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")
                   if os.path.lexists(f"/proc/self/fd/{name}"))
    told = [line for line in status if line.split(":")[0] in names]
    return told, adopted, handlers, places, spaces, files, dict(os.environ), open("/proc/self/limits").read()
"""


@needs_root
def test_builds_change_nothing_of_their_host(
    host: Callable[[str], subprocess.Popen[str]],
) -> None:
    process = host(
        STATE
        + """
# What is made once and stays is made before.
assert exit_of(0) == (0, [])
before = state()
assert not before[1]
assert exit_of(3)[0] == 3
exit_of(0, "umask 077; cd /tmp; trap '' CHLD; kill -9 $$")
after = state()
for one, other in zip(before, after):
    assert one == other, (one, other)
print("the same")
"""
    )
    assert lines(process) == ["the same"]
