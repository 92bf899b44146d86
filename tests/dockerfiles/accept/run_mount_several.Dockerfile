FROM scratch
RUN --mount=target=/x --mount=type=tmpfs,target=/y a
