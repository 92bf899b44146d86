FROM scratch
RUN --mount=type=ssh a
