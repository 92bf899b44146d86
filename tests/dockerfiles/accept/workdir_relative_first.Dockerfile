FROM scratch
WORKDIR a
