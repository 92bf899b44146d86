# syntax=x
# escape=`
# check=error=true
FROM scratch
