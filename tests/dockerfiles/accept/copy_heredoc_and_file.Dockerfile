FROM scratch
COPY <<EOF f /d/
x
EOF
