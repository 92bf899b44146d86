"""A real application, built with events and pushed to a registry."""

import sys

import stagewright

builder = stagewright.Builder()
build = builder.start(path=".", tag=f"{sys.argv[1]}/lesson:1")
for event in build:
    if isinstance(event, stagewright.Finished) and event.outcome == "failed":
        print(event.message)
sent: list[int] = []


def tell(event: stagewright.Event) -> None:
    if isinstance(event, stagewright.Progress) and event.current_bytes == event.total_bytes:
        sent.append(event.current_bytes)


digest = build.wait().push(insecure=True, on_event=tell)
print(f"pushed lesson:1, {(digest or '')[:7]}, bytes told: {str(sum(sent) > 0).lower()}")
