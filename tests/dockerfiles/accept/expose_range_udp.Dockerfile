FROM scratch
EXPOSE 5-6/udp
