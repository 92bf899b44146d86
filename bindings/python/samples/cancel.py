"""A build that is stopped while a command runs."""

import stagewright

with stagewright.Builder() as builder:
    build = builder.start(text="FROM alpine:3.10\nRUN echo ready; sleep 1000\n")
    for event in build:
        if isinstance(event, stagewright.Log):
            print(event.text, end="")
            build.cancel()
    try:
        build.wait()
    except stagewright.BuildCancelledError as error:
        print(error.code)
