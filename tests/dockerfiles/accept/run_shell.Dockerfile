FROM scratch
RUN echo $A
