// A Dockerfile of two stages, its image and an OCI archive.
#include <iostream>

#include <stagewright/stagewright.hpp>

int main() {
  stagewright::Builder builder;
  stagewright::BuildOptions options;
  options.context = ".";
  options.tags = {"app:1"};
  options.labels = {{"made-by", "a sample"}};
  const auto image = builder.build(options);
  stagewright::ExportOptions archive;
  archive.kind = "oci_archive";
  archive.names = {"app:1"};
  image.export_to("app.tar", archive);
  const bool labelled = image.config_json().find("\"made-by\":\"a sample\"") != std::string::npos;
  std::cout << image.names().at(0) << (labelled ? " a sample\n" : " no label\n");
  for (const auto& layer : image.sizes().layers) std::cout << layer.created_by << " " << layer.bytes << "\n";
}
