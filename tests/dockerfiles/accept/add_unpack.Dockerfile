FROM scratch
ADD --unpack a.tar /b/
