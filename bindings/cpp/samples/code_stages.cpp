// Stages in code, and the Dockerfile that says the same.
#include <iostream>

#include <stagewright/stagewright.hpp>

using stagewright::Mount;
using stagewright::Stage;

int main() {
  const auto tools = Stage::from("alpine:3.10").named("tools").workdir("/build").copy("src", "src");
  stagewright::SecretMountOptions token;
  token.env = "TOKEN";
  token.value = stagewright::Secret::text("hidden");
  const auto made = tools.run("cat src/* \"$(test -n \"$TOKEN\" && echo /dev/null)\" > all.txt",
                              {{Mount::secret("token", token), Mount::cache("/root/.cache")}, {}});
  stagewright::CopyOptions from_made;
  from_made.from = made;
  const auto app = Stage::scratch().copy("/build/all.txt", "/", from_made).env("LANG", "C").cmd({"/all.txt"});

  stagewright::BuildOptions options;
  options.context = ".";
  options.stage = app;
  const auto image = stagewright::Builder().build(options);
  std::cout << (image.config_json().find("\"Cmd\":[\"/all.txt\"]") != std::string::npos ? "/all.txt\n" : "another\n");
  std::cout << app.to_dockerfile();
}
