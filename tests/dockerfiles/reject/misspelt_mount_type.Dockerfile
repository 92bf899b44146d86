FROM scratch
RUN --mount=type=tmp,target=/x a
