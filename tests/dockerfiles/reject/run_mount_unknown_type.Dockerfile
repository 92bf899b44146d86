FROM scratch
RUN --mount=type=foo,target=/x a
