FROM scratch
healthcheck cmd a
