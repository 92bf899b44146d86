"""Builds from asyncio."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

import stagewright
from conftest import needs_root


def test_events_and_the_image_are_awaited(builder: stagewright.Builder, project: Path) -> None:
    async def run() -> tuple[list[stagewright.Event], stagewright.Image]:
        async with builder.start(project) as build:
            events = [event async for event in build]
            return events, await build

    events, image = asyncio.run(run())
    assert image.id.startswith("sha256:")
    started: set[int] = set()
    for event in events:
        if isinstance(event, stagewright.Started):
            started.add(event.vertex)
        elif isinstance(event, stagewright.Finished) and event.outcome == "executed":
            assert event.vertex in started


def test_fifty_at_once_of_all_sorts_leave_the_loop_free(
    builder: stagewright.Builder, project: Path
) -> None:
    async def one(number: int) -> str:
        if number % 5 == 0:
            build = builder.start(text=f"FROM scratch\nLABEL n={number}\nCOPY missing /\n")
        else:
            build = builder.start(project, labels={"n": str(number)})
        if number % 7 == 0:
            build.cancel()
        try:
            image = await build
        except stagewright.StagewrightError as error:
            return error.code
        assert image.config["config"]["Labels"] == {"n": str(number)}
        return "built"

    async def run() -> list[str]:
        return await asyncio.gather(*(one(number) for number in range(50)))

    codes = asyncio.run(run())
    for number, code in enumerate(codes):
        expected = {"not_found"} if number % 5 == 0 else {"built"}
        if number % 7 == 0:
            expected.add("cancelled")
        assert code in expected, (number, code)


@needs_root
def test_a_cancelled_task_stops_its_build(builder: stagewright.Builder, busybox: str) -> None:
    async def run() -> None:
        build = builder.start(
            text="FROM busybox\nRUN echo ready; sleep 1000\n",
            build_contexts={"busybox": busybox},
        )
        async for event in build:
            if isinstance(event, stagewright.Log):
                break
        task = asyncio.ensure_future(build)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert build.done

    asyncio.run(asyncio.wait_for(run(), 30))


@needs_root
def test_the_loop_goes_on_while_a_command_runs(builder: stagewright.Builder, busybox: str) -> None:
    async def run() -> int:
        build = builder.start(
            text="FROM busybox\nRUN sleep 0.3\n", build_contexts={"busybox": busybox}
        )
        task = asyncio.ensure_future(build)
        ticks = 0
        while not task.done():
            await asyncio.sleep(0.005)
            ticks += 1
        await task
        return ticks

    began = time.monotonic()
    assert asyncio.run(run()) > 5
    assert time.monotonic() - began >= 0.3
