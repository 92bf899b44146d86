FROM scratch
CMD ["\u0041"]
