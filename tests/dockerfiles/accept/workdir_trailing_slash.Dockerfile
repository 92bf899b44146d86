FROM scratch
WORKDIR /a/
