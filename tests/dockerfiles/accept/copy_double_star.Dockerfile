FROM scratch
COPY **/x /d/
