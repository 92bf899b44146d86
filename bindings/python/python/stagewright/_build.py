"""Builds that run."""

from __future__ import annotations

import asyncio
import logging
from types import TracebackType
from typing import Any, AsyncIterator, Generator, Iterator

from . import _events
from ._errors import StagewrightError
from ._events import Event
from ._image import Image
from ._native import NativeBuild, NativeImage

_log = logging.getLogger("stagewright")


class Build:
    """A build that was started: iterate over its events, wait for it or await it.

    The events can be read once, by one reader, and before the build is waited for: what nobody
    reads goes to the logger only. A build that nobody refers to any more is cancelled.
    """

    def __init__(self, native: NativeBuild) -> None:
        self._native = native
        self._names: dict[int, str] = {}
        self._read = False

    def __enter__(self) -> Build:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()

    async def __aenter__(self) -> Build:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.cancel()
        try:
            await self._ended()
        except StagewrightError:
            pass

    def cancel(self) -> None:
        """Stops the build: running steps are killed, what was finished stays cached."""
        self._native.cancel()

    @property
    def done(self) -> bool:
        """Whether the build has ended."""
        try:
            return self._native.result() is not None
        except StagewrightError:
            return True

    def wait(self) -> Image:
        """Blocks until the build has ended, and returns the image or raises what stopped it."""
        try:
            while True:
                native = self._result()
                if native is not None:
                    return Image(native)
                self._native.pause_for_end(True)
        except KeyboardInterrupt:
            self._stop()
            raise

    def __iter__(self) -> Iterator[Event]:
        self._read = True
        try:
            while True:
                more, text = self._native.event()
                if not more:
                    return
                if text is None:
                    self._native.pause_for_event()
                elif (event := self._event(text)) is not None:
                    yield event
        except KeyboardInterrupt:
            self._stop()
            raise

    async def __aiter__(self) -> AsyncIterator[Event]:
        self._read = True
        while True:
            more, text = self._native.event()
            if not more:
                return
            if text is None:
                await _readable(self._native.event_fd())
            elif (event := self._event(text)) is not None:
                yield event
                # Others have their turn, however many events there are.
                await asyncio.sleep(0)

    def __await__(self) -> Generator[Any, None, Image]:
        return self._awaited().__await__()

    async def _awaited(self) -> Image:
        try:
            return await self._ended()
        except asyncio.CancelledError:
            # Nothing may run on when the task is over.
            self.cancel()
            await asyncio.shield(asyncio.ensure_future(self._quietly()))
            raise

    async def _quietly(self) -> None:
        try:
            await self._ended()
        except StagewrightError:
            pass

    async def _ended(self) -> Image:
        while True:
            native = self._result()
            if native is not None:
                return Image(native)
            await _readable(self._native.end_fd())

    def _stop(self) -> None:
        """Cancels, and waits for the end."""
        self._native.cancel()
        while True:
            try:
                if self._native.result() is not None:
                    return
            except StagewrightError:
                return
            self._native.pause_for_end(False)

    def _result(self) -> NativeImage | None:
        try:
            return self._native.result()
        finally:
            self._log_events()

    def _log_events(self) -> None:
        """Passes events on to the logger while nobody else reads them."""
        if self._read:
            return
        everything = _log.isEnabledFor(logging.DEBUG)
        while True:
            _, text = self._native.event()
            if text is None:
                return
            if everything or '"kind":"warning"' in text:
                self._event(text)

    def _event(self, text: str) -> Event | None:
        event = _events.read(text)
        if event is not None and _log.isEnabledFor(logging.WARNING):
            self._tell(event)
        return event

    def _tell(self, event: Event) -> None:
        if isinstance(event, _events.Planned):
            self._names.update((vertex.id, vertex.name) for vertex in event.vertices)
        elif isinstance(event, _events.Warning):
            _log.warning("%s", event.message)
        elif isinstance(event, _events.Started):
            _log.debug("%s", self._names.get(event.vertex))
        elif isinstance(event, _events.Log):
            for line in event.text.splitlines():
                _log.debug("%s: %s", self._names.get(event.vertex), line)
        elif isinstance(event, _events.Finished):
            why = event.message or (event.miss.text if event.miss else "")
            name = self._names.get(event.vertex)
            _log.debug("%s: %s%s", name, event.outcome, f": {why}" if why else "")


async def _readable(fd: int) -> None:
    """Waits until a descriptor is readable."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(fd, wake)
    try:
        await ready
    finally:
        loop.remove_reader(fd)


__all__ = ["Build"]
