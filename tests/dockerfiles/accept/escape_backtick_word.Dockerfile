# escape=`
FROM scratch
ENV A=x` y B=`$A
