ARG V=1
FROM scratch
ARG V
ENV X=$V
