// The smallest program: an image of one file, exported.
#include <iostream>

#include <stagewright/stagewright.hpp>

int main(int, char** arguments) {
  stagewright::BuilderOptions where;
  where.store = arguments[1];
  stagewright::Builder builder(where);
  stagewright::BuildOptions options;
  options.dockerfile_text = "FROM scratch\nCOPY <<EOF /hello\nhello\nEOF\n";
  const auto image = builder.build(options);
  image.export_to(std::string(arguments[1]) + "/out");
  std::cout << image.id() << "\n";
}
