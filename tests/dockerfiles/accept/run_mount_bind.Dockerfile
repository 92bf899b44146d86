FROM scratch
RUN --mount=target=/x a
