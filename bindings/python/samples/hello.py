"""An image of one file, and its files."""

from pathlib import Path

import stagewright

with stagewright.Builder() as builder:
    image = builder.build(text="FROM scratch\nCOPY <<EOF /hello\nhello, world\nEOF\n")
    image.export("out", kind="directory")
    print(Path("out/hello").read_text(), end="")
