FROM scratch
LABEL name="Zoë ☃"
