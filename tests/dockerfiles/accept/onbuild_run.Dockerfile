FROM scratch
ONBUILD RUN make
