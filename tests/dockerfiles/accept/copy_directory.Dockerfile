FROM scratch
COPY . /src/
