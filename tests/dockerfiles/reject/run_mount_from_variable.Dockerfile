FROM scratch
ARG B=scratch
RUN --mount=from=$B,target=/x a
