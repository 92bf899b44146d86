FROM scratch
onbuild run make
