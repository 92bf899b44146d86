FROM scratch AS unused
ENV X=1
FROM scratch
ENV Y=1
