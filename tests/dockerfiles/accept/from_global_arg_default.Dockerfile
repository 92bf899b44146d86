FROM ${BASE:-scratch}
