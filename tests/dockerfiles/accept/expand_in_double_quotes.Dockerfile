FROM scratch
ENV A=1
ENV X="<${A}>"
