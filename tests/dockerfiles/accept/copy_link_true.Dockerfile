FROM scratch
COPY --link=true a /b
