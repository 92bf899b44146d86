FROM scratch
ENV A=${B:?must be set}
