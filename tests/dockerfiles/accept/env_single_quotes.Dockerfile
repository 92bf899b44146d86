FROM scratch
ENV A='a $B'
