FROM scratch
ENV V=1
COPY <<"EOF" /a
$V
EOF
