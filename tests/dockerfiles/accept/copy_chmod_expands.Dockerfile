FROM scratch
ARG M=755
COPY --chmod=$M a /b
