FROM scratch
ENV AB\
C=1
