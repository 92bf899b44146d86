FROM scratch
ENV a-b.c=1
