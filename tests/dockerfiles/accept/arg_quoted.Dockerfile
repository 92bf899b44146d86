FROM scratch
ARG A="a b"
ENV X=$A
