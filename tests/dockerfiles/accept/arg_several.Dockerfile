FROM scratch
ARG A=1 B C=3
ENV X=$A-$B-$C
