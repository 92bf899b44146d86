FROM scratch
VOLUME /a
VOLUME /a
