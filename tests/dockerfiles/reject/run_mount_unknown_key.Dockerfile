FROM scratch
RUN --mount=target=/x,foo=1 a
