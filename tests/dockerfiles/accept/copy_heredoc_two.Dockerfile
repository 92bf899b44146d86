FROM scratch
COPY <<a <<b /d/
1
a
2
b
