FROM scratch
COPY --chown=5 a /b
