FROM scratch
ENV A=[a]b
ENV X=${A#[a]}
