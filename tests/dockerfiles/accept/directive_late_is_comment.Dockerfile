FROM scratch
# escape=`
ENV A=1 \
 B=2
