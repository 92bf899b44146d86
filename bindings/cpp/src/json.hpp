// JSON, in and out of the library: private to it.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "stagewright/stagewright.hpp"

namespace stagewright {

using Json = nlohmann::json;

/// Reads what may be null.
template <typename T>
std::optional<T> maybe(const Json& json, const char* name) {
  const auto found = json.find(name);
  if (found == json.end() || found->is_null()) return std::nullopt;
  return found->get<T>();
}

/// Writes what may be absent.
template <typename T>
void put(Json& json, const char* name, const std::optional<T>& value) {
  if (value) json[name] = *value;
}

/// Writes a text; throws a RequestError if it is no UTF-8.
std::string written(const Json& json);

/// Stages as a list in which each comes after those that it needs.
class Table {
 public:
  Json name(const Source& source);
  Json name(const Stage& stage);
  Json stages() const { return stages_; }

 private:
  Json name(const std::shared_ptr<const detail::StageNode>& node);
  Json stages_ = Json::array();
  std::map<const detail::StageNode*, std::size_t> known_;
};

Json secret_json(const Secret& secret);
std::string request_json(const BuildOptions& options);
std::string export_json(const std::filesystem::path& dest, const ExportOptions& options);
std::string push_json(const PushOptions& options);
std::string run_json(const ImageRunOptions& options);
std::string prune_json(const PruneOptions& options);
std::string copy_json(const ImageCopyOptions& options);
std::string inspect_json(const InspectOptions& options);

/// Nothing for an event that this version does not know.
std::optional<Event> read_event(const std::string& text);
std::vector<Explained> read_explained(const std::string& text);
CheckReport read_checks(const std::string& text);
Outline read_outline(const std::string& text);
Targets read_targets(const std::string& text);
std::vector<LayerUse> read_uses(const std::string& text);
Sizes read_sizes(const std::string& text);
CacheUsage read_usage(const std::string& text);
Pruned read_pruned(const std::string& text);
CacheVerification read_verification(const std::string& text);
HostReport read_host(const std::string& text);
std::vector<NamedEntry> read_entries(const std::string& text);
ErrorDetails read_error(const std::string& text);

}  // namespace stagewright
