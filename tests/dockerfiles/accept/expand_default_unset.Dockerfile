FROM scratch
ENV X=${A-d}
