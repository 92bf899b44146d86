FROM scratch
ENV A=x"y z"w
