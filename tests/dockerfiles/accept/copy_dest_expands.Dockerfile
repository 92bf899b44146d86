FROM scratch
ENV D=/d/
COPY a b $D
