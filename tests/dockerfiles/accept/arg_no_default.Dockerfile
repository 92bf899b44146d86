FROM scratch
ARG A
ENV X=${A:-none}
