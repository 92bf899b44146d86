FROM scratch
COPY --link=false a /b
