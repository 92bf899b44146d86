FROM scratch
ARG A=1
RUN a
