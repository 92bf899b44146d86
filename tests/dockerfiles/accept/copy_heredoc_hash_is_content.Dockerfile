FROM scratch
COPY <<EOF /a
# x

y
EOF
