FROM scratch
CMD [ -f x ] && y
