// What comes out of the library.
#include "json.hpp"

namespace stagewright {
namespace {

std::vector<std::uint64_t> numbers(const Json& json) { return json.get<std::vector<std::uint64_t>>(); }

std::optional<Miss> read_miss(const Json& json) {
  if (json.is_null()) return std::nullopt;
  Miss miss{json.at("reason"), json.at("text"), {}};
  for (const auto& change : json.at("changes")) {
    miss.changes.push_back({change.at("input"), maybe<std::string>(change, "name"),
                            maybe<std::string>(change, "before"), maybe<std::string>(change, "after")});
  }
  return miss;
}

Room read_room(const Json& json) {
  return {json.at("count"), json.at("bytes"), json.at("shared_bytes"), json.at("reclaimable_bytes")};
}

Finding read_finding(const Json& json) {
  return {json.at("rule"),       json.at("description"), json.at("url"),    json.at("message"), maybe<std::string>(json, "help"),
          json.at("line"),       json.at("end_line"),    json.at("column"), json.at("drawing")};
}

std::vector<OutlineMount> read_mounts(const Json& json) {
  std::vector<OutlineMount> mounts;
  for (const auto& mount : json) mounts.push_back({mount.at("name"), mount.at("required"), mount.at("lines")});
  return mounts;
}

}  // namespace

CheckReport read_checks(const std::string& text) {
  const auto json = Json::parse(text);
  CheckReport report{{}, json.at("failed"), json.at("file"), json.at("text")};
  for (const auto& finding : json.at("findings")) report.findings.push_back(read_finding(finding));
  return report;
}

Outline read_outline(const std::string& text) {
  const auto json = Json::parse(text);
  Outline outline{maybe<std::string>(json, "name"), maybe<std::string>(json, "description"), {}, read_mounts(json.at("secrets")),
                  read_mounts(json.at("ssh")),      read_mounts(json.at("caches")),          json.at("text")};
  for (const auto& arg : json.at("args")) {
    outline.args.push_back({arg.at("name"), maybe<std::string>(arg, "description"), maybe<std::string>(arg, "value"),
                            arg.at("lines")});
  }
  return outline;
}

Targets read_targets(const std::string& text) {
  const auto json = Json::parse(text);
  Targets targets{{}, json.at("text")};
  for (const auto& target : json.at("targets")) {
    targets.targets.push_back({maybe<std::string>(target, "name"), target.at("is_default"),
                               maybe<std::string>(target, "description"), target.at("base"),
                               maybe<std::string>(target, "platform"), target.at("lines")});
  }
  return targets;
}

std::vector<LayerUse> read_uses(const std::string& text) {
  std::vector<LayerUse> uses;
  for (const auto& layer : Json::parse(text)) {
    uses.push_back({layer.at("id"), layer.at("bytes"), layer.at("last_used_unix_ms"), layer.at("uses")});
  }
  return uses;
}

std::optional<Event> read_event(const std::string& text) {
  const auto json = Json::parse(text);
  const auto kind = json.at("kind").get<std::string>();
  const std::uint64_t at_ms = json.at("at_ms");
  if (kind == "planned") {
    Planned planned{at_ms, {}};
    for (const auto& vertex : json.at("vertices")) {
      planned.vertices.push_back({vertex.at("id"), vertex.at("name"), vertex.at("stage"), numbers(vertex.at("inputs")),
                                  maybe<int>(vertex, "line"), vertex.at("step")});
    }
    return planned;
  }
  if (kind == "started") return Started{at_ms, json.at("vertex")};
  if (kind == "log") return Log{at_ms, json.at("vertex"), json.at("stream"), json.at("text")};
  if (kind == "progress") {
    return Progress{at_ms, json.at("vertex"), json.at("label"), json.at("current_bytes"),
                    maybe<std::uint64_t>(json, "total_bytes")};
  }
  if (kind == "finished") {
    return Finished{at_ms, json.at("vertex"), json.at("outcome"), read_miss(json.at("miss")),
                    maybe<std::string>(json, "message")};
  }
  if (kind == "warning") {
    const auto finding = json.find("finding");
    const bool checked = finding != json.end() && finding->is_object();
    return Warning{at_ms, json.at("message"), maybe<int>(json, "line"),
                   checked ? std::optional(read_finding(*finding)) : std::nullopt};
  }
  return std::nullopt;
}

std::vector<Explained> read_explained(const std::string& text) {
  std::vector<Explained> all;
  for (const auto& one : Json::parse(text)) {
    const auto depends_on = maybe<std::vector<std::uint64_t>>(one, "depends_on");
    all.push_back({one.at("vertex"), one.at("name"), one.at("stage"), maybe<int>(one, "line"), numbers(one.at("inputs")),
                   one.at("verdict"), read_miss(one.at("miss")), depends_on.value_or(std::vector<std::uint64_t>{}),
                   maybe<std::string>(one, "why")});
  }
  return all;
}

Sizes read_sizes(const std::string& text) {
  const auto json = Json::parse(text);
  Sizes sizes{{}, json.at("total_bytes"), {}, json.at("saved_bytes")};
  for (const auto& layer : json.at("layers")) {
    sizes.layers.push_back({layer.at("created_by"), layer.at("diff_id"), layer.at("bytes")});
  }
  for (const auto& stage : json.at("stages")) sizes.stages.push_back({stage.at("name"), stage.at("bytes")});
  return sizes;
}

CacheUsage read_usage(const std::string& text) {
  const auto json = Json::parse(text);
  return {read_room(json.at("layers")),   read_room(json.at("blobs")),   read_room(json.at("cache_mounts")),
          read_room(json.at("contexts")), read_room(json.at("records")), json.at("total_bytes")};
}

Pruned read_pruned(const std::string& text) {
  const auto json = Json::parse(text);
  Pruned pruned{{}, json.at("bytes"), json.at("left_bytes")};
  for (const auto& item : json.at("items")) {
    pruned.items.push_back({item.at("kind"), item.at("id"), item.at("bytes"), item.at("last_used_unix_ms")});
  }
  return pruned;
}

CacheVerification read_verification(const std::string& text) {
  const auto json = Json::parse(text);
  CacheVerification found{json.at("checked"), {}};
  for (const auto& damage : json.at("damaged")) found.damaged.push_back({damage.at("path"), damage.at("reason")});
  return found;
}

HostReport read_host(const std::string& text) {
  const auto json = Json::parse(text);
  HostReport report{json.at("mode"), json.at("reason"), {}};
  for (const auto& finding : json.at("findings")) report.findings.push_back({finding.at("name"), finding.at("works")});
  return report;
}

std::vector<NamedEntry> read_entries(const std::string& text) {
  std::vector<NamedEntry> entries;
  for (const auto& entry : Json::parse(text)) {
    entries.push_back({entry.at("name"), entry.at("id"), entry.at("tagged_unix_ms"), entry.at("bytes")});
  }
  return entries;
}

ErrorDetails read_error(const std::string& text) {
  const auto json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return {"internal", text, {}, {}, {}, {}, {}, {}, {}, {}};
  return {json.at("code"),
          json.at("message"),
          maybe<std::string>(json, "drawing"),
          maybe<std::string>(json, "help"),
          maybe<std::string>(json, "vertex"),
          maybe<std::string>(json, "file"),
          maybe<int>(json, "line"),
          maybe<int>(json, "column"),
          maybe<int>(json, "exit_code"),
          json.at("log_tail").get<std::vector<std::string>>()};
}

}  // namespace stagewright
