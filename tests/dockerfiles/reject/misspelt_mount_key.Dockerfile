FROM scratch
RUN --mount=typ=tmpfs,target=/x a
