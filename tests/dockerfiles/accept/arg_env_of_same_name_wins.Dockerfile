FROM scratch
ARG A=1
ENV A=2
ENV X=$A
