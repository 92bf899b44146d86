ARG V=1
FROM scratch
ENV X=a$V
