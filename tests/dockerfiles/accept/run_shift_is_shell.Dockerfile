FROM scratch
RUN echo $((1<<2))
