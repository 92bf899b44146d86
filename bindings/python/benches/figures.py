"""Figures of the Python package: a part of ``cargo xtask bench languages``."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import stagewright

BUSYBOX = "FROM scratch\nCOPY busybox /bin/busybox\nSHELL [\"/bin/busybox\", \"sh\", \"-c\"]\n"


def warm(builder: stagewright.Builder, times: int) -> list[float]:
    """Builds in which nothing is to be done, in milliseconds each."""
    taken = []
    for _ in range(times + 50):
        began = time.perf_counter()
        builder.build("project")
        taken.append((time.perf_counter() - began) * 1e3)
    return taken[50:]


def _scheduled() -> tuple[float, float]:
    """How long this thread was on a processor, and how long it waited for one, in milliseconds."""
    with open(f"/proc/self/task/{threading.get_native_id()}/schedstat") as file:
        ran, waited, _ = file.read().split()
    return int(ran) / 1e6, int(waited) / 1e6


async def _turns(work: list[Any], at_least_s: float) -> list[tuple[float, float, float]]:
    """For each turn of a timer of a millisecond while some work is done, in milliseconds: how late it was, how long
    the loop's thread computed, and how long it could have and others had the processors.
    """
    turns: list[tuple[float, float, float]] = []
    over = False

    async def tick() -> None:
        while not over:
            began, (ran, waited) = time.perf_counter(), _scheduled()
            await asyncio.sleep(0.001)
            ran_then, waited_then = _scheduled()
            late = (time.perf_counter() - began) * 1e3 - 1
            turns.append((late, ran_then - ran, waited_then - waited))

    ticking = asyncio.ensure_future(tick())
    await asyncio.gather(asyncio.sleep(at_least_s), *work)
    over = True
    await ticking
    return turns


async def _fifty(builder: stagewright.Builder) -> list[float]:
    async def one(number: int) -> None:
        try:
            if number % 5 == 0:
                text = f"{BUSYBOX}RUN echo {number}; exit 3\n"
                build = builder.start("project", text=text)
            else:
                text = f"{BUSYBOX}RUN i=0; while [ $i -lt 500 ]; do i=$((i+1)); echo $i {number}; done\n"
                build = builder.start("project", text=text)
            async for _ in build:
                if number % 7 == 0:
                    build.cancel()
            await build
        except stagewright.StagewrightError:
            pass

    began = time.perf_counter()
    busy = await _turns([one(number) for number in range(50)], 0.0)
    idle = await _turns([], time.perf_counter() - began)
    return [*(max(turn[place] for turn in busy) for place in range(3)), max(turn[0] for turn in idle)]


def interrupted(builder: stagewright.Builder) -> float:
    """Milliseconds from a signal in the middle of a command to the exception, when all is gone."""
    sent = 0.0

    def send() -> None:
        nonlocal sent
        sent = time.perf_counter()
        os.kill(os.getpid(), signal.SIGINT)

    build = builder.start("project", text=f"{BUSYBOX}RUN echo ready; sleep 1000\n", nocache=True)
    for event in build:
        if isinstance(event, stagewright.Log):
            break
    threading.Timer(0.05, send).start()
    try:
        build.wait()
    except KeyboardInterrupt:
        return (time.perf_counter() - sent) * 1e3
    raise AssertionError("it was not interrupted")


def held() -> dict[str, int]:
    """What this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "resident_kib": pages * os.sysconf("SC_PAGE_SIZE") // 1024,
    }


def main() -> None:
    """Measures what the arguments name."""
    builder = stagewright.Builder("store", environment={})
    what, times = sys.argv[1], int(sys.argv[2])
    if what == "warm":
        found: Any = warm(builder, times)
    elif what == "loop":
        found = [asyncio.run(_fifty(builder)) for _ in range(times)]
    elif what == "interrupt":
        found = [interrupted(builder) for _ in range(times)]
    else:
        warm(builder, 250)
        before = held()
        warm(builder, times)
        found = [before, held()]
    print(json.dumps(found))


main()
