FROM scratch
CMD echo $A "b"
