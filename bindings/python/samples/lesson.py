"""A real application, built with events and pushed to a registry."""

import sys

import stagewright

builder = stagewright.Builder()
build = builder.start(path=".", tag=f"{sys.argv[1]}/lesson:1")
for event in build:
    if isinstance(event, stagewright.Finished) and event.outcome == "failed":
        print(event.message)
digest = build.wait().push(insecure=True)
print(f"pushed lesson:1, {(digest or '')[:7]}")
