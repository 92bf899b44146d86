FROM scratch
ENV F=f
COPY $F /b
