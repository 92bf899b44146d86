// A real application, built with events and pushed to a registry.
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
  std::cout << "pushed lesson:1, " << image.push(push).value_or("").substr(0, 7) << "\n";
}
