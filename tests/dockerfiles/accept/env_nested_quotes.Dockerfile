FROM scratch
ENV A="it's"
