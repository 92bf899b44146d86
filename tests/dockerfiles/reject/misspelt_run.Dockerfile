FROM scratch
RUNN x
