FROM scratch
COPY --parents x/./y/z /e/
