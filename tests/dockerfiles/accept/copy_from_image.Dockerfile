FROM scratch
COPY --from=busybox /a /b
