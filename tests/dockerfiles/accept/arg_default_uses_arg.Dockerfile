FROM scratch
ARG A=1
ARG B=$A
ENV X=$B
