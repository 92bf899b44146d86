FROM scratch
RUN --mount=type=bind a
