ARG A=scr
ARG B=${A}atch
FROM $B
