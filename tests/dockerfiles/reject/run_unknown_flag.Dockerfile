FROM scratch
RUN --mont=target=/x a
