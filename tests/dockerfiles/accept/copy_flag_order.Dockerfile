FROM scratch
COPY --chmod=600 --chown=1 a /b
