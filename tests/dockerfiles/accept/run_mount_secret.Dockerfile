FROM scratch
RUN --mount=type=secret,id=s a
