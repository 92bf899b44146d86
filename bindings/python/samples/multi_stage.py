"""A Dockerfile of two stages, its image and an OCI archive."""

import stagewright

with stagewright.Builder() as builder:
    image = builder.build(path=".", tag="app:1", labels={"made-by": "a sample"})
    image.export("app.tar", kind="oci_archive", names=["app:1"])
    print(image.names[0], image.config["config"]["Labels"]["made-by"])
    for layer in image.sizes()["layers"]:
        print(layer["created_by"], layer["bytes"])
