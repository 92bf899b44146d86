# syntax=docker/dockerfile:1 more
FROM scratch
