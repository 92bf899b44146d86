FROM scratch
ENV A=1 \
# note
  # note
 B=2
