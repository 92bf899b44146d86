FROM scratch
SHELL ["x"]
ENTRYPOINT a
