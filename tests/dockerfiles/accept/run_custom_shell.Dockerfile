FROM scratch
SHELL ["/x", "-c"]
RUN y
