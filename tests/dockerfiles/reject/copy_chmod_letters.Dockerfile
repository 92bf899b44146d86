FROM scratch
COPY --chmod=u+z a /b
