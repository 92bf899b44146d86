FROM --platfrom=linux/amd64 scratch
