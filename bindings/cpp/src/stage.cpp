// Stages in code.
#include "bridge.hpp"
#include "json.hpp"

namespace stagewright {
namespace detail {

struct MountNode {
  std::string kind;
  Json fields;
  std::optional<Source> from;
};

/// A step, and the stages that its text leaves out.
struct Step {
  Json json;
  std::optional<Source> from;
  std::vector<Mount> mounts;
};

struct StageNode {
  Source base;
  Json name;
  Json platform;
  std::vector<Step> steps;
};

/// Reads what only this file may see.
struct Access {
  static const std::string& name(const Source& source) { return source.name_; }
  static const std::shared_ptr<const StageNode>& node(const Source& source) { return source.stage_; }
  static const std::shared_ptr<const StageNode>& node(const Stage& stage) { return stage.node_; }
  static const MountNode& node(const Mount& mount) { return *mount.node_; }
  static Stage stage(StageNode node) { return Stage(std::make_shared<const StageNode>(std::move(node))); }
};

}  // namespace detail

namespace {

using detail::Access;
using detail::Step;

Stage with(const std::shared_ptr<const detail::StageNode>& node, Step step) {
  auto longer = *node;
  longer.steps.push_back(std::move(step));
  return Access::stage(std::move(longer));
}

Stage with(const std::shared_ptr<const detail::StageNode>& node, const char* kind, Json value) {
  return with(node, Step{{{kind, std::move(value)}}, {}, {}});
}

Json command_json(const Command& command) {
  return std::visit([](const auto& value) { return Json(value); }, command.value());
}

Json step_json(const Step& step, Table& table) {
  auto json = step.json;
  if (step.from) json["copy"]["from"] = table.name(*step.from);
  for (const auto& mount : step.mounts) {
    const auto& node = Access::node(mount);
    auto fields = node.fields;
    if (node.from) fields["from"] = table.name(*node.from);
    json["run"]["mounts"].push_back({{node.kind, std::move(fields)}});
  }
  return json;
}

}  // namespace

Json Table::name(const Source& source) {
  const auto& node = Access::node(source);
  return node ? name(node) : Json(Access::name(source));
}

Json Table::name(const Stage& stage) { return name(Access::node(stage)); }

Json Table::name(const std::shared_ptr<const detail::StageNode>& node) {
  const auto known = known_.find(node.get());
  if (known != known_.end()) return {{"stage", known->second}};
  Json json = {{"base", name(node->base)}, {"name", node->name}, {"platform", node->platform}, {"steps", Json::array()}};
  for (const auto& step : node->steps) json["steps"].push_back(step_json(step, *this));
  const auto index = stages_.size();
  stages_.push_back(std::move(json));
  known_.emplace(node.get(), index);
  return {{"stage", index}};
}

Mount Mount::cache(std::string target, const CacheMountOptions& options) {
  Json fields = {{"target", std::move(target)}};
  put(fields, "id", options.id);
  put(fields, "sharing", options.sharing);
  return Mount(std::make_shared<const detail::MountNode>(detail::MountNode{"cache", std::move(fields), {}}));
}

Mount Mount::bind(std::string target, const BindMountOptions& options) {
  Json fields = {{"target", std::move(target)}, {"writable", options.writable}};
  put(fields, "source", options.source);
  return Mount(std::make_shared<const detail::MountNode>(detail::MountNode{"bind", std::move(fields), options.from}));
}

Mount Mount::tmpfs(std::string target, std::optional<std::uint64_t> size_bytes) {
  Json fields = {{"target", std::move(target)}};
  put(fields, "size_bytes", size_bytes);
  return Mount(std::make_shared<const detail::MountNode>(detail::MountNode{"tmpfs", std::move(fields), {}}));
}

Mount Mount::secret(std::string id, const SecretMountOptions& options) {
  Json fields = {{"id", std::move(id)}};
  put(fields, "target", options.target);
  put(fields, "env", options.env);
  if (options.value) fields["value"] = secret_json(*options.value);
  return Mount(std::make_shared<const detail::MountNode>(detail::MountNode{"secret", std::move(fields), {}}));
}

Stage Stage::from(const Source& base) { return Access::stage({base, nullptr, nullptr, {}}); }
Stage Stage::scratch() { return from("scratch"); }

Stage Stage::named(std::string name) const {
  auto node = *node_;
  node.name = std::move(name);
  return Access::stage(std::move(node));
}

Stage Stage::platform(std::string platform) const {
  auto node = *node_;
  node.platform = std::move(platform);
  return Access::stage(std::move(node));
}

Stage Stage::run(const Command& command, const RunOptions& options) const {
  Json fields = {{"command", command_json(command)}, {"mounts", Json::array()}};
  put(fields, "network", options.network);
  return with(node_, Step{{{"run", std::move(fields)}}, {}, options.mounts});
}

Stage Stage::copy(const Paths& sources, std::string dest, const CopyOptions& options) const {
  Json fields = {{"sources", sources.list()}, {"dest", std::move(dest)},    {"link", options.link},
                 {"parents", options.parents}, {"exclude", options.exclude}};
  put(fields, "chown", options.chown);
  put(fields, "chmod", options.chmod);
  return with(node_, Step{{{"copy", std::move(fields)}}, options.from, {}});
}

Stage Stage::workdir(std::string path) const { return with(node_, "workdir", std::move(path)); }
Stage Stage::env(std::string name, std::string value) const {
  return with(node_, "env", Json::array({std::move(name), std::move(value)}));
}
Stage Stage::arg(std::string name, std::optional<std::string> default_value) const {
  return with(node_, "arg", Json::array({std::move(name), default_value ? Json(*default_value) : Json(nullptr)}));
}
Stage Stage::label(std::string name, std::string value) const {
  return with(node_, "label", Json::array({std::move(name), std::move(value)}));
}
Stage Stage::user(std::string user) const { return with(node_, "user", std::move(user)); }
Stage Stage::expose(std::string port) const { return with(node_, "expose", std::move(port)); }
Stage Stage::volume(std::string path) const { return with(node_, "volume", std::move(path)); }
Stage Stage::stop_signal(std::string signal) const { return with(node_, "stop_signal", std::move(signal)); }
Stage Stage::shell(std::vector<std::string> argv) const { return with(node_, "shell", std::move(argv)); }
Stage Stage::cmd(const Command& command) const { return with(node_, "cmd", command_json(command)); }
Stage Stage::entrypoint(const Command& command) const { return with(node_, "entrypoint", command_json(command)); }
Stage Stage::instruction(std::string text) const { return with(node_, "instruction", std::move(text)); }

std::string Stage::to_dockerfile() const {
  Table table;
  table.name(*this);
  const auto text = written(table.stages());
  return std::string(calling([&] { return native::to_dockerfile(text); }));
}

}  // namespace stagewright
