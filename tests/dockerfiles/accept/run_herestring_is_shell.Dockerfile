FROM scratch
RUN cat <<<x
