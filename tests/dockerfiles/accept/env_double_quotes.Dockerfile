FROM scratch
ENV A="a b"
