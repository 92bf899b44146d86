FROM scratch
ENV A=aXb
ENV X=${A/X/}
