FROM scratch
EXPOSE 53/udp
