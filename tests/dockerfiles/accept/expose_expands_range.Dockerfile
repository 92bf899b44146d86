FROM scratch
ENV P=1-2
EXPOSE $P/udp
