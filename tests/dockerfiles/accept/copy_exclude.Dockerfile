FROM scratch
COPY --exclude=*.md --exclude=t . /e/
