FROM scratch
RUN --mount=type=secret,id=s,env=S,required a
