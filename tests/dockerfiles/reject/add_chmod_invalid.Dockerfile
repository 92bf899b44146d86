FROM scratch
ADD --chmod=rwx a /b
