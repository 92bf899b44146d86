FROM scratch
ENV A some  text
