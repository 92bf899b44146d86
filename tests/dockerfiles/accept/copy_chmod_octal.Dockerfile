FROM scratch
COPY --chmod=0644 a /b
