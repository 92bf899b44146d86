FROM scratch
ADD --exclude=x . /b/
