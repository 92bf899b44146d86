// The vectors that every language runs.
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <set>
#include <stdexcept>

#include <nlohmann/json.hpp>
#include <stagewright/stagewright.hpp>

namespace fs = std::filesystem;
using namespace stagewright;
using Json = nlohmann::json;

namespace {

[[noreturn]] void fail(const std::string& what) { throw std::logic_error(what); }

void check(bool holds, const std::string& what) {
  if (!holds) fail(what);
}

Source source(const Json& json, const std::vector<Stage>& stages) {
  if (json.is_object()) return stages.at(json.at("stage").get<std::size_t>());
  return json.get<std::string>();
}

Command command(const Json& json) {
  if (json.is_array()) return json.get<std::vector<std::string>>();
  return json.get<std::string>();
}

template <typename T>
std::optional<T> maybe(const Json& json, const char* name) {
  const auto found = json.find(name);
  if (found == json.end() || found->is_null()) return std::nullopt;
  return found->get<T>();
}

Secret secret(const Json& json) { return Secret::text(json.at("text").get<std::string>()); }

Mount mount(const Json& json, const std::vector<Stage>& stages) {
  const auto& kind = json.begin().key();
  const auto& given = json.begin().value();
  if (kind == "cache") {
    return Mount::cache(given.at("target").get<std::string>(), {maybe<std::string>(given, "id"), maybe<std::string>(given, "sharing")});
  }
  if (kind == "bind") {
    BindMountOptions options;
    if (given.contains("from")) options.from = source(given.at("from"), stages);
    options.source = maybe<std::string>(given, "source");
    options.writable = given.value("writable", false);
    return Mount::bind(given.at("target").get<std::string>(), options);
  }
  if (kind == "tmpfs") return Mount::tmpfs(given.at("target").get<std::string>(), maybe<std::uint64_t>(given, "size_bytes"));
  SecretMountOptions options{maybe<std::string>(given, "target"), maybe<std::string>(given, "env"), {}};
  if (given.contains("value")) options.value = secret(given.at("value"));
  return Mount::secret(given.at("id").get<std::string>(), options);
}

Stage add(const Stage& stage, const std::string& verb, const Json& given, const std::vector<Stage>& stages) {
  if (verb == "run") {
    RunOptions options;
    options.network = maybe<std::string>(given, "network");
    for (const auto& one : given.value("mounts", Json::array())) options.mounts.push_back(mount(one, stages));
    return stage.run(command(given.at("command")), options);
  }
  if (verb == "copy") {
    CopyOptions options;
    if (given.contains("from")) options.from = source(given.at("from"), stages);
    options.chown = maybe<std::string>(given, "chown");
    options.chmod = maybe<std::string>(given, "chmod");
    options.link = given.value("link", false);
    options.parents = given.value("parents", false);
    options.exclude = given.value("exclude", std::vector<std::string>{});
    return stage.copy(given.at("sources").get<std::vector<std::string>>(), given.at("dest").get<std::string>(), options);
  }
  if (verb == "env") return stage.env(given.at(0).get<std::string>(), given.at(1).get<std::string>());
  if (verb == "label") return stage.label(given.at(0).get<std::string>(), given.at(1).get<std::string>());
  if (verb == "arg") {
    const auto& value = given.at(1);
    return stage.arg(given.at(0).get<std::string>(), value.is_null() ? std::nullopt : std::optional(value.get<std::string>()));
  }
  if (verb == "shell") return stage.shell(given.get<std::vector<std::string>>());
  if (verb == "cmd") return stage.cmd(command(given));
  if (verb == "entrypoint") return stage.entrypoint(command(given));
  const auto text = given.get<std::string>();
  if (verb == "workdir") return stage.workdir(text);
  if (verb == "user") return stage.user(text);
  if (verb == "expose") return stage.expose(text);
  if (verb == "volume") return stage.volume(text);
  if (verb == "stop_signal") return stage.stop_signal(text);
  if (verb == "instruction") return stage.instruction(text);
  fail("there is no verb " + verb);
}

/// Says in code what is described.
std::vector<Stage> stages_of(const Json& described) {
  std::vector<Stage> stages;
  for (const auto& one : described) {
    auto stage = Stage::from(source(one.at("base"), stages));
    if (const auto name = maybe<std::string>(one, "name")) stage = stage.named(*name);
    if (const auto platform = maybe<std::string>(one, "platform")) stage = stage.platform(*platform);
    for (const auto& step : one.value("steps", Json::array())) {
      stage = add(stage, step.begin().key(), step.begin().value(), stages);
    }
    stages.push_back(stage);
  }
  return stages;
}

BuildOptions options_of(const Json& request) {
  const auto stages = stages_of(request.value("stages", Json::array()));
  using Texts = std::map<std::string, std::string>;
  BuildOptions options;
  for (const auto& [name, value] : request.items()) {
    if (name == "stages") continue;
    if (name == "context") options.context = value.get<std::string>();
    else if (name == "dockerfile") options.dockerfile = value.get<std::string>();
    else if (name == "dockerfile_text") options.dockerfile_text = value.get<std::string>();
    else if (name == "ignore_file") options.ignore_file = value.get<std::string>();
    else if (name == "target") options.target = value.get<std::string>();
    else if (name == "platform") options.platform = value.get<std::string>();
    else if (name == "network") options.network = value.get<std::string>();
    else if (name == "build_args") options.build_args = value.get<Texts>();
    else if (name == "labels") options.labels = value.get<Texts>();
    else if (name == "unset_env") options.unset_env = value.get<std::vector<std::string>>();
    else if (name == "unset_labels") options.unset_labels = value.get<std::vector<std::string>>();
    else if (name == "squash") options.squash = value.get<std::string>();
    else if (name == "inherit_labels") options.inherit_labels = value.get<bool>();
    else if (name == "tags") options.tags = value.get<std::vector<std::string>>();
    else if (name == "cache_from") options.cache_from = value.get<std::vector<std::string>>();
    else if (name == "dns") options.dns = value.get<std::vector<std::string>>();
    else if (name == "dns_search") options.dns_search = value.get<std::vector<std::string>>();
    else if (name == "devices") options.devices = value.get<std::vector<std::string>>();
    else if (name == "volumes") options.volumes = value.get<std::vector<std::string>>();
    else if (name == "dns_options") options.dns_options = value.get<std::vector<std::string>>();
    else if (name == "source_date_epoch") options.source_date_epoch = value.get<std::uint64_t>();
    else if (name == "cache_ttl_ms") options.cache_ttl_ms = value.get<std::uint64_t>();
    else if (name == "step_timeout_ms") options.step_timeout_ms = value.get<std::uint64_t>();
    else if (name == "reproducible") options.reproducible = value.get<bool>();
    else if (name == "provenance") options.provenance = value.get<std::string>();
    else if (name == "stage") options.stage = stages.at(value.get<std::size_t>());
    else if (name == "secrets") for (const auto& [id, it] : value.items()) options.secrets.emplace(id, secret(it));
    else if (name == "build_contexts")
      for (const auto& [key, it] : value.items()) options.build_contexts.emplace(key, source(it, stages));
    else fail("there is no option " + name);
  }
  return options;
}

bool holds(const Json& expected, const Json& found) {
  if (expected.is_object()) {
    for (const auto& [name, value] : expected.items()) {
      if (!found.contains(name) || !holds(value, found.at(name))) return false;
    }
    return true;
  }
  if (expected.is_array()) {
    if (!found.is_array() || found.size() != expected.size()) return false;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      if (!holds(expected[i], found[i])) return false;
    }
    return true;
  }
  return expected == found;
}

/// What a build told.
struct Told {
  std::multiset<std::string> executed;
  std::map<std::string, Miss> misses;
  std::string log;
};

/// Reads all events of a build, and checks their order.
Told listen(Build build, const std::optional<std::string>& cancel) {
  Told told;
  std::map<std::uint64_t, std::string> names;
  std::set<std::uint64_t> opened, ended;
  std::uint64_t at_ms = 0;
  while (const auto event = build.next_event()) {
    const auto now = std::visit([](const auto& it) { return it.at_ms; }, *event);
    check(now >= at_ms, "an event is from before another");
    at_ms = now;
    if (const auto* planned = std::get_if<Planned>(&*event)) {
      for (const auto& vertex : planned->vertices) {
        if (vertex.step) names[vertex.id] = vertex.name;
      }
    } else if (const auto* started = std::get_if<Started>(&*event)) {
      check(opened.insert(started->vertex).second, "a vertex began twice");
    } else if (const auto* log = std::get_if<Log>(&*event)) {
      check(opened.count(log->vertex) == 1, "a vertex wrote that did not run");
      told.log += log->text;
      if (cancel && told.log.find(*cancel) != std::string::npos) build.cancel();
    } else if (const auto* finished = std::get_if<Finished>(&*event)) {
      opened.erase(finished->vertex);
      check(ended.insert(finished->vertex).second, "a vertex ended twice");
      const auto name = names.find(finished->vertex);
      if (name == names.end()) continue;
      if (finished->outcome == "executed") told.executed.insert(name->second);
      if (finished->miss) told.misses.emplace(name->second, *finished->miss);
    }
  }
  check(opened.empty(), "a vertex began and did not end");
  return told;
}

void check_told(const Json& step, const Told& told) {
  if (step.contains("executed")) {
    check(told.executed == step.at("executed").get<std::multiset<std::string>>(), "other steps ran");
  }
  for (const auto& miss : step.value("misses", Json::array())) {
    const auto& found = told.misses.at(miss.at("step").get<std::string>());
    check(found.reason == miss.at("reason"), "another reason: " + found.text);
    bool named = false;
    for (const auto& change : found.changes) {
      named = named || (change.input == miss.at("input") &&
                        change.name.value_or("").find(miss.at("name").get<std::string>()) != std::string::npos);
    }
    check(named, "another change: " + found.text);
  }
  if (step.contains("counted")) {
    std::string expected;
    for (int number = 1; number <= step.at("counted").get<int>(); ++number) expected += std::to_string(number) + "\n";
    check(told.log == expected, "events were lost, or are out of order");
  }
}

void check_image(const Json& step, const Image& image) {
  const auto config = Json::parse(image.config_json());
  if (step.contains("config")) check(holds(step.at("config"), config.at("config")), config.dump());
  if (step.contains("layers")) check(step.at("layers") == config.at("rootfs").at("diff_ids").size(), config.dump());
  if (step.contains("id")) check(step.at("id") == image.id(), image.id());
  if (step.contains("names")) check(step.at("names") == image.names(), "other names");
}

Json nullable(const std::optional<std::string>& text) { return text ? Json(*text) : Json(nullptr); }
Json nullable(const std::optional<int>& number) { return number ? Json(*number) : Json(nullptr); }

void check_error(const Json& expected, const Error& error) {
  const auto& details = error.details();
  const Json found = {{"code", error.code()},           {"message", error.what()},
                      {"help", nullable(details.help)}, {"line", nullable(details.line)},
                      {"column", nullable(details.column)}, {"exit_code", nullable(details.exit_code)},
                      {"log_tail", details.log_tail}};
  for (const auto& [name, value] : expected.items()) {
    const auto& it = found.at(name);
    const bool part = name == "message" || name == "help";
    const bool same = part ? it.is_string() && it.get<std::string>().find(value.get<std::string>()) != std::string::npos
                           : it == value;
    check(same, name + " is to be " + value.dump() + ": " + found.dump());
  }
}

/// Asks something else than a build.
Json call(const Builder& builder, const std::string& name, const BuildOptions& options) {
  Json answer = Json::array();
  if (name == "explain") {
    for (const auto& one : builder.explain(options)) {
      if (one.miss) answer.push_back({{"name", one.name}, {"reason", one.miss->reason}});
    }
    return answer;
  }
  if (name == "targets") {
    for (const auto& target : builder.targets(options).targets) {
      answer.push_back({{"name", nullable(target.name)},
                        {"is_default", target.is_default},
                        {"description", nullable(target.description)}});
    }
    return {{"targets", answer}};
  }
  if (name == "outline") {
    const auto outline = builder.outline(options);
    for (const auto& arg : outline.args) answer.push_back({{"name", arg.name}, {"value", nullable(arg.value)}});
    return {{"name", nullable(outline.name)}, {"args", answer}};
  }
  const auto report = builder.check(options);
  for (const auto& finding : report.findings) answer.push_back({{"rule", finding.rule}, {"line", finding.line}});
  return {{"failed", report.failed}, {"findings", answer}};
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) text.replace(at, from.size(), to);
  return text;
}

void run_step(const Builder& builder, const fs::path& project, const Json& step) {
  const auto files = step.value("write", Json::object());
  for (const auto& [name, text] : files.items()) {
    fs::create_directories((project / name).parent_path());
    std::ofstream(project / name) << text.get<std::string>();
  }
  const auto request = Json::parse(replaced(step.at("request").dump(), "{project}", project.string()));
  try {
    const auto options = options_of(request);
    if (step.contains("call")) {
      const auto answer = call(builder, step.at("call").get<std::string>(), options);
      if (step.contains("says")) check(holds(step.at("says"), answer), answer.dump());
    } else {
      auto build = builder.start(options);
      const auto told = listen(build, maybe<std::string>(step, "cancel"));
      const auto image = build.wait();
      check_told(step, told);
      check_image(step, image);
    }
  } catch (const Error& error) {
    if (!step.contains("error")) throw;
    check_error(step.at("error"), error);
    return;
  }
  check(!step.contains("error"), "it did not fail");
}

Json read(const fs::path& file) {
  std::ifstream in(file);
  return Json::parse(in);
}

void stages(const Json& vector) {
  std::string written;
  try {
    written = stages_of(vector.at("stages")).back().to_dockerfile();
  } catch (const Error& error) {
    check(vector.contains("code") && vector.at("code") == error.code(), error.what());
    return;
  }
  check(vector.value("dockerfile", "an error") == written, written);
}

void builds(const Json& vector, const fs::path& folder) {
  const auto project = folder / "project";
  fs::create_directories(project);
  BuilderOptions where;
  where.store = folder / "store";
  where.environment.emplace();
  const Builder builder(where);
  if (vector.value("commands", false)) fs::copy_file(std::getenv("STAGEWRIGHT_TEST_BUSYBOX"), project / "busybox");
  for (const auto& step : vector.at("steps")) run_step(builder, project, step);
}

}  // namespace

int main(int, char** arguments) {
  const fs::path vectors = std::getenv("STAGEWRIGHT_TEST_VECTORS");
  const fs::path work = arguments[1];
  fs::remove_all(work);
  int failed = 0, count = 0;
  const auto run = [&](const Json& vector, const std::function<void()>& one) {
    const std::string name = vector.at("name");
    try {
      one();
      std::cout << "ok " << name << std::endl;
    } catch (const std::exception& error) {
      std::cout << "FAILED " << name << ": " << error.what() << std::endl;
      ++failed;
    }
  };
  for (const auto& vector : read(vectors / "stages.json")) run(vector, [&] { stages(vector); });
  for (const auto& vector : read(vectors / "builds.json")) {
    if (vector.value("commands", false) && geteuid() != 0) {
      std::cout << "not root: left out " << vector.at("name") << std::endl;
      continue;
    }
    run(vector, [&] { builds(vector, work / std::to_string(count++)); });
  }
  return failed == 0 ? 0 : 1;
}
