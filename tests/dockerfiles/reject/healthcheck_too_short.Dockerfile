FROM scratch
HEALTHCHECK --interval=1us CMD a
