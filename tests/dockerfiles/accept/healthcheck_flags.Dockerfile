FROM scratch
HEALTHCHECK --interval=1m30s --timeout=5s --start-period=1h --start-interval=500ms --retries=3 CMD a
