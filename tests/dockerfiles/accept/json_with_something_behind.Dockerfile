FROM scratch
CMD ["a", "b"] && c
ENTRYPOINT ["a" "b"]
