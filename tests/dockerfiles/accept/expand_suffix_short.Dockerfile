FROM scratch
ENV A=a/b/c
ENV X=${A%/*}
