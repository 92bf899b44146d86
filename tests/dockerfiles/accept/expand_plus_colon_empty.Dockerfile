FROM scratch
ENV A=
ENV X=${A:+w}
