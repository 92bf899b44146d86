FROM scratch
ENV A=
ENV X=${A:-d}
