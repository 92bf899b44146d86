FROM scratch
LABEL a=
