FROM scratch
WORK\
DIR /a
