FROM scratch AS a
ENV X=1
FROM scratch AS a
ENV X=2
FROM a
