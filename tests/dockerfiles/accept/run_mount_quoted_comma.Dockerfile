FROM scratch
RUN --mount="type=tmpfs,\"target=/a,b\"" a
