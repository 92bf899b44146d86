FROM scratch
ENV D=/d
RUN --mount=type=tmpfs,target=$D a
