FROM scratch
   # note
ENV A=1
