"""Stages in code, and the Dockerfile that says the same."""

import stagewright
from stagewright import Mount, Stage

tools = Stage.from_("alpine:3.10", name="tools").workdir("/build").copy("src", "src")
made = tools.run(
    'cat src/* "$(test -n "$TOKEN" && echo /dev/null)" > all.txt',
    mounts=[Mount.secret("token", "hidden", env="TOKEN"), Mount.cache("/root/.cache")],
)
app = Stage.scratch().copy("/build/all.txt", "/", from_=made).env("LANG", "C").cmd(["/all.txt"])

with stagewright.Builder() as builder:
    image = builder.build(path=".", stage=app)
    print(image.config["config"]["Cmd"][0])
print(app.to_dockerfile(), end="")
