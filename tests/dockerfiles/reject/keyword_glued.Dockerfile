FROM scratch
ENVA=1
