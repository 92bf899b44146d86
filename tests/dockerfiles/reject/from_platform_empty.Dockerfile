FROM --platform=$NOTHING busybox
