FROM scratch
RUN <<EOF
echo a
EOF
