// A build that is stopped while a command runs.
#include <iostream>

#include <stagewright/stagewright.hpp>

int main() {
  stagewright::Builder builder;
  stagewright::BuildOptions options;
  options.dockerfile_text = "FROM alpine:3.10\nRUN echo ready; sleep 1000\n";
  auto build = builder.start(options);
  try {
    build.wait([&](const stagewright::Event& event) {
      if (const auto* log = std::get_if<stagewright::Log>(&event)) {
        std::cout << log->text;
        build.cancel();
      }
    });
  } catch (const stagewright::BuildCancelledError& error) {
    std::cout << error.code() << "\n";
  }
}
