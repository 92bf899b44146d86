// An image of one file, and its files.
#include <fstream>
#include <iostream>

#include <stagewright/stagewright.hpp>

int main() {
  stagewright::Builder builder;
  stagewright::BuildOptions options;
  options.dockerfile_text = "FROM scratch\nCOPY <<EOF /hello\nhello, world\nEOF\n";
  stagewright::ExportOptions files;
  files.kind = "directory";
  builder.build(options).export_to("out", files);
  std::cout << std::ifstream("out/hello").rdbuf();
}
