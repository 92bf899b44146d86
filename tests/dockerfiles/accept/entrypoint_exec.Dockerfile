FROM scratch
ENTRYPOINT ["/a"]
