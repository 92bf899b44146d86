FROM scratch AS a
ARG V=1
FROM a
ENV Y=$V
