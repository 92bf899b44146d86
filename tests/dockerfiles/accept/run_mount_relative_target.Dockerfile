FROM scratch
WORKDIR /w
RUN --mount=type=tmpfs,target=t a
