FROM scratch
ONBUILD COPY . /src
