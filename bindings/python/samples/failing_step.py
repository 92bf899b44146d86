"""What is known of a command that failed."""

import stagewright

with stagewright.Builder() as builder:
    try:
        builder.build(text="FROM alpine:3.10\nRUN echo last words; exit 7\n")
    except stagewright.StepFailedError as error:
        print(error.code, error.exit_code, error.line, error.log_tail[-1])
        print(error.drawing)
