FROM scratch
RUN 3<<EOF cat
a
EOF
