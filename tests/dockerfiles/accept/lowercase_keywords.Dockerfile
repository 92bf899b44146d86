from scratch
env A=1
workdir /a
