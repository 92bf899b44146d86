// A real application, built with events and pushed to a registry.
#include <cstdint>
#include <iostream>

#include <stagewright/stagewright.hpp>

int main(int, char** arguments) {
  stagewright::Builder builder;
  stagewright::BuildOptions options;
  options.context = ".";
  options.tags = {std::string(arguments[1]) + "/lesson:1"};
  const auto image = builder.build(options, [](const stagewright::Event& event) {
    const auto* finished = std::get_if<stagewright::Finished>(&event);
    if (finished != nullptr && finished->outcome == "failed") std::cout << finished->message.value_or("") << "\n";
  });
  stagewright::PushOptions push;
  push.insecure = true;
  std::uint64_t sent = 0;
  const auto digest = image.push(push, [&](const stagewright::Event& event) {
    const auto* progress = std::get_if<stagewright::Progress>(&event);
    if (progress != nullptr && progress->current_bytes == progress->total_bytes) sent += progress->current_bytes;
  });
  std::cout << "pushed lesson:1, " << digest.value_or("").substr(0, 7) << ", bytes told: " << std::boolalpha
            << (sent > 0) << "\n";
}
