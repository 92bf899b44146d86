ARG EMPTY
FROM --platform=$EMPTY scratch
COPY a /
