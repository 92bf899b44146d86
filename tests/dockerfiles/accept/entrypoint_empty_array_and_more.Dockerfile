FROM scratch
ENTRYPOINT []random string
