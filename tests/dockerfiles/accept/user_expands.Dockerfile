FROM scratch
ARG U=7
USER $U
