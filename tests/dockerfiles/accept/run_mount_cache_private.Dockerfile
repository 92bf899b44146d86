FROM scratch
RUN --mount=type=cache,target=/c,sharing=private,id=i,mode=0700,uid=1,gid=2 a
