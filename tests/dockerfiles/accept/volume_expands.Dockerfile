FROM scratch
ENV D=/d
VOLUME $D
