// Events of a second build, and why a step ran again.
#include <fstream>
#include <iostream>

#include <stagewright/stagewright.hpp>

int main() {
  stagewright::Builder builder;
  stagewright::BuildOptions options;
  options.context = ".";
  builder.build(options);
  std::ofstream("src/a.txt") << "three\n";
  std::map<std::uint64_t, std::string> names;
  builder.build(options, [&](const stagewright::Event& event) {
    if (const auto* planned = std::get_if<stagewright::Planned>(&event)) {
      for (const auto& vertex : planned->vertices) {
        if (vertex.step) names[vertex.id] = vertex.name;
      }
    } else if (const auto* finished = std::get_if<stagewright::Finished>(&event)) {
      if (names.count(finished->vertex) == 0) return;
      std::cout << finished->outcome << " " << names[finished->vertex];
      if (finished->miss) std::cout << ": " << finished->miss->text;
      std::cout << "\n";
    }
  });
}
