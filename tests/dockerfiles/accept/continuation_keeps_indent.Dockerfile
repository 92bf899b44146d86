FROM scratch
CMD echo a\
   b
