FROM scratch
ARG U=3
COPY --chown=$U a /b
