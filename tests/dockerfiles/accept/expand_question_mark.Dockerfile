FROM scratch
ENV A=abc
ENV X=${A#?}
