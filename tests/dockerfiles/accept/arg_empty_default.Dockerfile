FROM scratch
ARG A=
ENV X=${A-unset}
