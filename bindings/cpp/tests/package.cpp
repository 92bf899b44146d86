// What must hold of the package, seen from outside.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <thread>

#include <stagewright/stagewright.hpp>

namespace fs = std::filesystem;
using namespace stagewright;

namespace {

fs::path work;

#define CHECK(condition)                                                              \
  do {                                                                                \
    if (!(condition)) {                                                               \
      std::cerr << __FILE__ << ":" << __LINE__ << ": " << #condition << std::endl;    \
      std::exit(1);                                                                   \
    }                                                                                 \
  } while (false)

void write(const fs::path& file, const std::string& text) {
  fs::create_directories(file.parent_path());
  std::ofstream(file) << text;
}

std::string read(const fs::path& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

const char* const DOCKERFILE =
    "FROM scratch AS build\nWORKDIR /build\nCOPY package.json ./\nCOPY src src\n\n"
    "FROM scratch\nCOPY --from=build /build /app\nCMD [\"node\", \"/app\"]\n";

/// A project and a builder of its own.
struct Fresh {
  fs::path folder;
  Builder builder;

  static Builder open(const fs::path& folder) {
    BuilderOptions options;
    options.store = folder / "store";
    options.environment.emplace();
    return Builder(options);
  }

  explicit Fresh(const std::string& name) : folder(work / name), builder(open(folder)) {
    write(folder / "project/Dockerfile", DOCKERFILE);
    write(folder / "project/.dockerignore", "Dockerfile\n");
    write(folder / "project/package.json", "{}");
    write(folder / "project/src/index.js", "one");
  }

  BuildOptions project() const {
    BuildOptions options;
    options.context = (folder / "project").string();
    return options;
  }
};

BuildOptions text(const std::string& dockerfile) {
  BuildOptions options;
  options.dockerfile_text = dockerfile;
  return options;
}

std::vector<Finished> finished(const Builder& builder, const BuildOptions& options, std::size_t* executed = nullptr) {
  std::vector<Finished> all;
  std::map<std::uint64_t, bool> steps;
  builder.build(options, [&](const Event& event) {
    if (const auto* planned = std::get_if<Planned>(&event)) {
      for (const auto& vertex : planned->vertices) steps[vertex.id] = vertex.step;
    }
    if (const auto* one = std::get_if<Finished>(&event)) all.push_back(*one);
  });
  if (executed != nullptr) {
    *executed = 0;
    for (const auto& one : all) *executed += one.outcome == "executed" && steps[one.vertex];
  }
  return all;
}

/// Returns the code of what is thrown.
template <typename Kind = Error, typename Call>
ErrorDetails thrown(Call&& call) {
  try {
    call();
  } catch (const Kind& error) {
    CHECK(error.code() == error.details().code);
    return error.details();
  }
  CHECK(!"nothing of that kind was thrown");
  std::abort();
}

void a_dockerfile_becomes_an_image_that_is_exported() {
  Fresh fresh("image");
  auto options = fresh.project();
  options.tags = {"app:1"};
  options.labels = {{"a", "b"}};
  const auto image = fresh.builder.build(options);
  CHECK(image.names() == std::vector<std::string>{"docker.io/library/app:1"});
  CHECK(image.config_json().find("\"Labels\":{\"a\":\"b\"}") != std::string::npos);
  CHECK(fresh.builder.image("app:1") == image);
  CHECK(image.export_to(fresh.folder / "out").has_value());
  CHECK(fs::exists(fresh.folder / "out/index.json"));
  ExportOptions files;
  files.kind = "directory";
  CHECK(!image.export_to(fresh.folder / "files", files));
  CHECK(read(fresh.folder / "files/app/src/index.js") == "one");
  CHECK(image.sizes().total_bytes == 5);
  fresh.builder.tag_image("app:1", "app:2");
  CHECK(fresh.builder.images().size() == 2);
  fresh.builder.remove_image("app:1");
  CHECK(fresh.builder.images().at(0).id == image.id());
  CHECK(fresh.builder.verify_cache().damaged.empty());
}

void another_builder_runs_nothing_with_the_cache() {
  Fresh fresh("cache-to");
  Fresh other("cache-from");
  const auto cache = (fresh.folder / "exported").string();
  const auto image = fresh.builder.build(fresh.project());
  CHECK(image.export_cache("type=local,dest=" + cache + ",mode=max").has_value());
  auto options = fresh.project();
  options.cache_from = {"type=local,src=" + cache};
  std::size_t executed = 0;
  finished(other.builder, options, &executed);
  CHECK(executed == 0);
}

void a_second_build_says_what_is_cached_and_why_the_rest_is_not() {
  Fresh fresh("cache");
  std::size_t executed = 0;
  finished(fresh.builder, fresh.project(), &executed);
  CHECK(executed == 4);
  finished(fresh.builder, fresh.project(), &executed);
  CHECK(executed == 0);
  for (const auto& one : fresh.builder.explain(fresh.project())) CHECK(one.verdict != "miss");
  write(fresh.folder / "project/src/index.js", "two");
  const auto names_the_file = [](const std::optional<Miss>& miss) {
    if (!miss) return false;
    for (const auto& change : miss->changes) {
      if (change.input == "file" && change.name && change.name->find("index.js") != std::string::npos) return true;
    }
    return false;
  };
  bool explained = false;
  for (const auto& one : fresh.builder.explain(fresh.project())) {
    explained = explained || (one.verdict == "miss" && names_the_file(one.miss));
  }
  CHECK(explained);
  bool told = false;
  for (const auto& one : finished(fresh.builder, fresh.project())) told = told || names_the_file(one.miss);
  CHECK(told);
}

void an_image_is_attested_copied_and_loaded() {
  Fresh fresh("attested");
  auto options = fresh.project();
  options.tags = {"app:1"};
  options.provenance = "mode=min";
  options.sbom = true;
  fresh.builder.build(options);
  const auto archive = "oci-archive:" + (fresh.folder / "app.tar").string();
  std::vector<std::string> ends;
  const auto digest = fresh.builder.copy_image("app:1", archive + ":app:1", {}, [&](const Event& event) {
    if (const auto* finished = std::get_if<Finished>(&event)) ends.push_back(finished->outcome);
  });
  CHECK(ends == std::vector<std::string>{"executed"});
  InspectOptions inspect;
  inspect.predicates = true;
  const auto found = fresh.builder.inspect_image(archive, inspect);
  CHECK(digest && found.find(*digest) != std::string::npos);
  CHECK(found.find("SPDX-2.3") != std::string::npos);
  const Fresh other("attested-other");
  const auto names = other.builder.load_images(fresh.folder / "app.tar");
  CHECK(names == std::vector<std::string>{"docker.io/library/app:1"});
  CHECK(other.builder.image("app:1") == fresh.builder.image("app:1"));
  CHECK(thrown([&] { other.builder.copy_image("app:1", "dir:x"); }).code == "unsupported");
  bool is_own = false;
  try {
    other.builder.load_images(fresh.folder / "app.tar", {}, [](const Event&) { throw std::range_error("mine"); });
  } catch (const std::range_error&) {
    is_own = true;
  }
  CHECK(is_own);
}

void what_nobody_needs_is_pruned() {
  Fresh fresh("prune");
  fresh.builder.build(fresh.project());
  CHECK(fresh.builder.cache_usage().layers.count > 0);
  PruneOptions reserved;
  reserved.min_free_bytes = std::uint64_t{1} << 60;
  reserved.reserved_bytes = std::uint64_t{1} << 40;
  CHECK(fresh.builder.prune_cache(reserved).bytes == 0);
  PruneOptions all;
  all.all = true;
  const auto pruned = fresh.builder.prune_cache(all);
  CHECK(!pruned.items.empty() && pruned.bytes > 0);
  CHECK(fresh.builder.cache_usage().layers.count == 0);
  PruneOptions wrong;
  wrong.kinds = {"everything"};
  CHECK(thrown<RequestError>([&] { fresh.builder.prune_cache(wrong); }).code == "request");
}

void stages_in_code_hit_what_the_dockerfile_made() {
  Fresh fresh("stages");
  fresh.builder.build(fresh.project());
  const auto build = Stage::scratch().workdir("/build").copy("package.json", "./").copy("src", "src");
  CopyOptions from_build;
  from_build.from = build;
  const auto app = Stage::scratch().copy("/build", "/app", from_build).cmd({"node", "/app"});
  auto options = fresh.project();
  options.stage = app;
  std::size_t executed = 1;
  finished(fresh.builder, options, &executed);
  CHECK(executed == 0);
  CHECK(app.to_dockerfile() ==
        "FROM scratch AS stage-0\nWORKDIR /build\nCOPY package.json ./\nCOPY src src\n\n"
        "FROM scratch\nCOPY --from=stage-0 /build /app\nCMD [\"node\", \"/app\"]\n");
  CacheMountOptions cache;
  cache.id = "npm";
  const auto node = Stage::from("node:20").copy({"a", "b"}, "c/").run("npm ci", {{Mount::cache("/root/.npm", cache)}, {}});
  CHECK(node.to_dockerfile() ==
        "FROM node:20\nCOPY a b c/\nRUN --mount=type=cache,target=/root/.npm,id=npm npm ci\n");
}

void images_of_several_platforms_leave_as_one() {
  Fresh fresh("platforms");
  std::vector<Image> images;
  for (const auto* platform : {"linux/amd64", "linux/arm64"}) {
    auto options = fresh.project();
    options.platform = platform;
    images.push_back(fresh.builder.build(options));
  }
  ExportOptions options;
  options.names = {"app:1"};
  options.annotations = {{"index:org.example", "x"}};
  auto digest = export_images(images, fresh.folder / "out", options).value();
  const auto index = read(fresh.folder / "out/blobs/sha256" / digest.substr(7));
  CHECK(index.find("arm64") != std::string::npos && index.find("amd64") != std::string::npos);
  CHECK(index.find("org.example") != std::string::npos);
  options.annotations = {{"nowhere:a", "b"}};
  CHECK(thrown<RequestError>([&] { images[0].export_to(fresh.folder / "out", options); }).code == "request");
  CHECK(!fresh.builder.layer_uses().empty());
}

void failures_are_exceptions_by_kind() {
  Fresh fresh("failures");
  const auto& builder = fresh.builder;
  const auto wrong = thrown<DockerfileError>([&] { builder.build(text("FROM scratch\nCOPPY a b\n")); });
  CHECK(wrong.code == "dockerfile" && wrong.line == 2 && wrong.drawing);
  const auto missing = thrown<NotFoundError>([&] { builder.build(text("FROM scratch\nCOPY missing /\n")); });
  CHECK(missing.code == "not_found" && missing.line == 2);
  auto options = text("FROM scratch\n");
  options.target = "nowhere";
  CHECK(thrown<RequestError>([&] { builder.build(options); }).code == "request");
  options = text("FROM scratch\n");
  options.network = "bridge";
  CHECK(thrown<RequestError>([&] { builder.build(options); }).code == "request");
  options = fresh.project();
  options.context = (fresh.folder / "missing").string();
  CHECK(thrown<NotFoundError>([&] { builder.build(options); }).code == "not_found");
  CHECK(thrown<NotFoundError>([&] { builder.image("nothing:1"); }).code == "not_found");
  CHECK(thrown<RequestError>([&] { builder.build(text("FROM scratch\nLABEL a=\xff\n")); }).code == "request");
}

void what_a_callback_throws_comes_out() {
  Fresh fresh("callback");
  struct Mine {};
  bool caught = false;
  try {
    fresh.builder.build(fresh.project(), [](const Event&) { throw Mine{}; });
  } catch (const Mine&) {
    caught = true;
  }
  CHECK(caught);
}

/// BusyBox of this machine as a stage: commands need root.
BuildOptions command(const Fresh& fresh, const Command& line) {
  for (const auto* place : {"/bin/busybox", "/usr/bin/busybox"}) {
    if (!fs::exists(place)) continue;
    fs::create_directories(fresh.folder / "project/bin");
    fs::copy_file(place, fresh.folder / "project/bin/busybox", fs::copy_options::overwrite_existing);
  }
  auto options = fresh.project();
  options.stage = Stage::scratch().copy("bin/busybox", "/bin/busybox").run(line);
  return options;
}

void a_failed_step_says_its_exit_code() {
  Fresh fresh("failed");
  const auto options = command(fresh, {"/bin/busybox", "sh", "-c", "echo so; exit 7"});
  const auto error = thrown<StepFailedError>([&] { fresh.builder.build(options); });
  CHECK(error.code == "step_failed" && error.exit_code == 7);
  CHECK(error.log_tail == std::vector<std::string>{"so"});
}

void a_build_is_cancelled_from_another_thread() {
  Fresh fresh("cancel");
  auto build = fresh.builder.start(command(fresh, {"/bin/busybox", "sleep", "1000"}));
  std::thread other;
  const auto error = thrown<BuildCancelledError>([&] {
    build.wait([&](const Event& event) {
      const auto* started = std::get_if<Started>(&event);
      if (started != nullptr && !other.joinable()) other = std::thread([&build] { build.cancel(); });
    });
  });
  CHECK(error.code == "cancelled");
  other.join();
  CHECK(thrown<BuildCancelledError>([&] { build.wait(); }).code == "cancelled");
}

void an_image_is_run_and_stopped() {
  Fresh fresh("run");
  auto options = command(fresh, {"/bin/busybox", "true"});
  options.stage = options.stage->cmd({"/bin/busybox", "sh", "-c", "exit $CODE"});
  const auto image = fresh.builder.build(options);
  ImageRunOptions run;
  run.env = {{"CODE", "4"}};
  CHECK(image.run(run) == 4);
  RunCanceller canceller;
  canceller.cancel();
  run.command = {"/bin/busybox", "sleep", "1000"};
  CHECK(thrown<BuildCancelledError>([&] { image.run(run, canceller); }).code == "cancelled");
}

/// What another part of the program may do: take the end of every child.
void exit_codes_are_right_while_a_thread_reaps_every_child() {
  Fresh fresh("reaper");
  std::atomic<bool> over{false};
  std::thread reaper([&] {
    while (!over) {
      if (waitpid(-1, nullptr, WNOHANG) <= 0) std::this_thread::yield();
    }
  });
  for (int number = 1; number <= 10; ++number) {
    const auto line = "exit " + std::to_string(number);
    const auto options = command(fresh, {"/bin/busybox", "sh", "-c", line});
    CHECK(thrown<StepFailedError>([&] { fresh.builder.build(options); }).exit_code == number);
  }
  over = true;
  reaper.join();
}

void fifty_builds_at_once_are_right() {
  Fresh fresh("fifty");
  std::atomic<int> right{0};
  std::vector<std::thread> threads;
  for (int number = 0; number < 50; ++number) {
    threads.emplace_back([&, number] {
      auto options = fresh.project();
      options.labels = {{"n", std::to_string(number)}};
      if (number % 5 == 0) options.stage = Stage::scratch().copy("missing", "/");
      std::string code = "built";
      auto build = fresh.builder.start(options);
      if (number % 7 == 0) build.cancel();
      try {
        const auto image = build.wait();
        if (image.config_json().find("\"n\":\"" + std::to_string(number) + "\"") == std::string::npos) code = "wrong";
      } catch (const Error& error) {
        code = error.code();
      }
      const bool as_asked = code == (number % 5 == 0 ? "not_found" : "built");
      right += as_asked || (number % 7 == 0 && code == "cancelled");
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(right == 50);
}

std::size_t entries(const char* folder) {
  std::size_t count = 0;
  for (const auto& entry : fs::directory_iterator(folder)) count += !entry.path().empty();
  return count;
}

long resident_kib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmRSS:", 0) == 0) return std::stol(line.substr(6));
  }
  return 0;
}

void a_thousand_warm_builds_leave_nothing() {
  Fresh fresh("warm");
  const auto some = [&](int times) {
    for (int i = 0; i < times; ++i) fresh.builder.build(fresh.project());
  };
  some(300);
  const auto fds = entries("/proc/self/fd");
  const auto threads = entries("/proc/self/task");
  const auto resident = resident_kib();
  some(1000);
  std::cout << "after 1,000 warm builds: descriptors " << fds << " to " << entries("/proc/self/fd") << ", threads "
            << threads << " to " << entries("/proc/self/task") << ", resident " << resident << " to " << resident_kib()
            << " KiB" << std::endl;
  CHECK(entries("/proc/self/fd") <= fds + 4);
  CHECK(entries("/proc/self/task") <= threads + 16);
  CHECK(resident_kib() - resident < 48 * 1024);
}

void a_forked_child_is_told_so() {
  Fresh fresh("fork");
  fresh.builder.build(fresh.project());
  const auto child = fork();
  if (child == 0) {
    try {
      fresh.builder.build(fresh.project());
    } catch (const RequestError& error) {
      _exit(std::string(error.what()).find("fork") != std::string::npos ? 0 : 1);
    }
    _exit(2);
  }
  int status = 1;
  waitpid(child, &status, 0);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

}  // namespace

int main(int, char** arguments) {
  work = arguments[1];
  fs::remove_all(work);
  const std::pair<const char*, void (*)()> tests[] = {
      {"a Dockerfile becomes an image that is exported", a_dockerfile_becomes_an_image_that_is_exported},
      {"another builder runs nothing with the cache", another_builder_runs_nothing_with_the_cache},
      {"a second build says what is cached and why the rest is not",
       a_second_build_says_what_is_cached_and_why_the_rest_is_not},
      {"an image is attested, copied and loaded", an_image_is_attested_copied_and_loaded},
      {"what nobody needs is pruned", what_nobody_needs_is_pruned},
      {"stages in code hit what the Dockerfile made", stages_in_code_hit_what_the_dockerfile_made},
      {"images of several platforms leave as one", images_of_several_platforms_leave_as_one},
      {"failures are exceptions by kind", failures_are_exceptions_by_kind},
      {"what a callback throws comes out", what_a_callback_throws_comes_out},
      {"fifty builds at once are right", fifty_builds_at_once_are_right},
      {"a thousand warm builds leave nothing", a_thousand_warm_builds_leave_nothing},
      {"a forked child is told so", a_forked_child_is_told_so},
  };
  for (const auto& [name, run] : tests) {
    std::cout << name << std::endl;
    run();
  }
  if (geteuid() != 0) {
    std::cout << "not root: commands are not tested" << std::endl;
    return 0;
  }
  a_failed_step_says_its_exit_code();
  a_build_is_cancelled_from_another_thread();
  an_image_is_run_and_stopped();
  exit_codes_are_right_while_a_thread_reaps_every_child();
}
