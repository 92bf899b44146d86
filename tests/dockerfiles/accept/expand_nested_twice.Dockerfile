FROM scratch
ENV X=${A:-${B:-${C:-deep}}}
