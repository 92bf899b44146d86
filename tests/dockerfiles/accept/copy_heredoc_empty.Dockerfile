FROM scratch
COPY <<EOF /a
EOF
