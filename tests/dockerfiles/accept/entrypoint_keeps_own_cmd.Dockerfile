FROM scratch
CMD ["x"]
ENTRYPOINT ["/a"]
