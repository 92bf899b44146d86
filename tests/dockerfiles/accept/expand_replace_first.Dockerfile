FROM scratch
ENV A=aXbX
ENV X=${A/X/y}
