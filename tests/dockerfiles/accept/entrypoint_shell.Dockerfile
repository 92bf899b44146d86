FROM scratch
ENTRYPOINT /a $X
