FROM scratch
EXPOSE 9/sctp
