FROM scratch
ENV A=1
ARG A=2
ENV X=$A
