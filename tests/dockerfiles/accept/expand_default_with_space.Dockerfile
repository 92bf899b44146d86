FROM scratch
ENV X="${A:-a b}"
