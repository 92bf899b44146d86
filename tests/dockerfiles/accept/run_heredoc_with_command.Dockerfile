FROM scratch
RUN cat <<EOF
a
EOF
