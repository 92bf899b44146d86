FROM scratch
USER ${U:-9}
