"""Events of a second build, and why a step ran again."""

from pathlib import Path

import stagewright

with stagewright.Builder() as builder:
    builder.build(path=".")
    Path("src/a.txt").write_text("three\n")
    names = {}
    with builder.start(path=".") as build:
        for event in build:
            if isinstance(event, stagewright.Planned):
                names.update({vertex.id: vertex.name for vertex in event.vertices if vertex.step})
            elif isinstance(event, stagewright.Finished) and event.vertex in names:
                why = f": {event.miss.text}" if event.miss else ""
                print(f"{event.outcome} {names[event.vertex]}{why}")
        build.wait()
