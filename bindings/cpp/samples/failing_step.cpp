// What is known of a command that failed.
#include <iostream>

#include <stagewright/stagewright.hpp>

int main() {
  stagewright::Builder builder;
  stagewright::BuildOptions options;
  options.dockerfile_text = "FROM alpine:3.10\nRUN echo last words; exit 7\n";
  try {
    builder.build(options);
  } catch (const stagewright::StepFailedError& error) {
    const auto& details = error.details();
    std::cout << error.code() << " " << *details.exit_code << " " << *details.line << " " << details.log_tail.back() << "\n"
              << *details.drawing << "\n";
  }
}
