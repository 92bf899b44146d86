FROM scratch
COPY *.txt /d/
