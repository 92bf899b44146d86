FROM scratch
USER 1:2
