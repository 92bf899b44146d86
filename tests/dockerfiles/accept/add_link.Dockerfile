FROM scratch
ADD --link a /b
