FROM scratch
WORKDIR /w
COPY a b .
