FROM scratch
ADD --chmod=600 a /b
