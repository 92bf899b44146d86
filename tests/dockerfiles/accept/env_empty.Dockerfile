FROM scratch
ENV A=
