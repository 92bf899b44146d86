FROM scratch
ARG S=x
COPY --from=$S a /b
