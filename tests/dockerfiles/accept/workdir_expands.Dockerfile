FROM scratch
ENV D=x
WORKDIR /$D
