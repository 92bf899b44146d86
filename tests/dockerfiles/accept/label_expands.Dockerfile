FROM scratch
ENV V=1
LABEL a=$V
