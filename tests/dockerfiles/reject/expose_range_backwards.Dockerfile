FROM scratch
EXPOSE 9-3
