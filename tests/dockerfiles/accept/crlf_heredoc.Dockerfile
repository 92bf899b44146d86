FROM scratch
COPY <<EOF /a
one
EOF
