FROM scratch
RUN <<EOF
#!/bin/x
y
EOF
