FROM scratch
RUN --device=vendor/class a
