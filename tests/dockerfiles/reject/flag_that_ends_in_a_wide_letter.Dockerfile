FROM scratch
RUN --sécurité true
