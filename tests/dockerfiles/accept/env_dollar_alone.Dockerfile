FROM scratch
ENV A=a$
