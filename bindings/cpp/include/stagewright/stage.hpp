// Stages in code, and what builds, exports and the cache are asked for and say.
#pragma once

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "errors.hpp"

namespace stagewright {

namespace detail {
struct StageNode;
struct MountNode;
struct Access;
struct Images;
}  // namespace detail

/// One path or several: "a", or {"a", "b"}.
class Paths {
 public:
  Paths(const char* path) : paths_{path} {}
  Paths(std::string path) : paths_{std::move(path)} {}
  Paths(std::vector<std::string> paths) : paths_(std::move(paths)) {}
  Paths(std::initializer_list<std::string> paths) : paths_(paths) {}
  const std::vector<std::string>& list() const { return paths_; }

 private:
  std::vector<std::string> paths_;
};

/// A command: a text for the shell, or {"program", "argument"} without one.
class Command {
 public:
  Command(const char* text) : command_(std::string(text)) {}
  Command(std::string text) : command_(std::move(text)) {}
  Command(std::vector<std::string> argv) : command_(std::move(argv)) {}
  Command(std::initializer_list<std::string> argv) : command_(std::vector<std::string>(argv)) {}
  const std::variant<std::string, std::vector<std::string>>& value() const { return command_; }

 private:
  std::variant<std::string, std::vector<std::string>> command_;
};

/// The value of a secret. It enters no key and no image.
class Secret {
 public:
  static Secret text(std::string value) { return Secret(std::move(value)); }
  static Secret file(std::filesystem::path path) { return Secret(std::move(path)); }
  const std::variant<std::string, std::filesystem::path>& value() const { return value_; }

 private:
  explicit Secret(std::variant<std::string, std::filesystem::path> value) : value_(std::move(value)) {}
  std::variant<std::string, std::filesystem::path> value_;
};

class Stage;

/// Where files come from: the name of an image, a stage or a context, or a stage in code.
class STAGEWRIGHT_API Source {
 public:
  Source(const char* name) : name_(name) {}
  Source(std::string name) : name_(std::move(name)) {}
  Source(const Stage& stage);

 private:
  friend struct detail::Access;
  std::string name_;
  std::shared_ptr<const detail::StageNode> stage_;
};

struct CacheMountOptions {
  std::optional<std::string> id;
  /// "shared", "private" or "locked".
  std::optional<std::string> sharing;
};

struct BindMountOptions {
  /// The build context if absent.
  std::optional<Source> from;
  std::optional<std::string> source;
  bool writable = false;
};

struct SecretMountOptions {
  std::optional<std::string> target;
  /// A variable of the environment that holds the value.
  std::optional<std::string> env;
  /// Given here, or with the build.
  std::optional<Secret> value;
};

/// Something that a command sees besides the files of its stage.
class STAGEWRIGHT_API Mount {
 public:
  /// A folder that is kept between builds.
  static Mount cache(std::string target, const CacheMountOptions& options = {});
  /// Files of the context, a stage or an image.
  static Mount bind(std::string target, const BindMountOptions& options = {});
  /// An empty folder in memory.
  static Mount tmpfs(std::string target, std::optional<std::uint64_t> size_bytes = std::nullopt);
  /// A secret.
  static Mount secret(std::string id, const SecretMountOptions& options = {});

 private:
  friend struct detail::Access;
  explicit Mount(std::shared_ptr<const detail::MountNode> node) : node_(std::move(node)) {}
  std::shared_ptr<const detail::MountNode> node_;
};

struct RunOptions {
  std::vector<Mount> mounts;
  /// "default", "host" or "none".
  std::optional<std::string> network;
};

struct CopyOptions {
  /// The build context if absent.
  std::optional<Source> from;
  std::optional<std::string> chown;
  std::optional<std::string> chmod;
  bool link = false;
  bool parents = false;
  std::vector<std::string> exclude;
};

/// A stage of a build, as a value: each method returns a longer stage.
///
/// `$NAME` in arguments stands for a variable as in a Dockerfile, and `\$` for a dollar. Commands
/// of run() belong to the shell entirely.
class STAGEWRIGHT_API Stage {
 public:
  /// Starts from an image, a stage of the build's Dockerfile, or another stage.
  static Stage from(const Source& base);
  /// Starts from nothing.
  static Stage scratch();

  /// Gives the stage a name, for events and for no_cache_filter.
  [[nodiscard]] Stage named(std::string name) const;
  /// Builds the stage for a platform.
  [[nodiscard]] Stage platform(std::string platform) const;
  [[nodiscard]] Stage run(const Command& command, const RunOptions& options = {}) const;
  [[nodiscard]] Stage copy(const Paths& sources, std::string dest, const CopyOptions& options = {}) const;
  /// Sets the working directory, and makes it.
  [[nodiscard]] Stage workdir(std::string path) const;
  [[nodiscard]] Stage env(std::string name, std::string value) const;
  /// Declares a build argument.
  [[nodiscard]] Stage arg(std::string name, std::optional<std::string> default_value = std::nullopt) const;
  [[nodiscard]] Stage label(std::string name, std::string value) const;
  /// Sets the user of what follows and of the image.
  [[nodiscard]] Stage user(std::string user) const;
  /// Names a port that the image listens on: "80", "53/udp".
  [[nodiscard]] Stage expose(std::string port) const;
  [[nodiscard]] Stage volume(std::string path) const;
  [[nodiscard]] Stage stop_signal(std::string signal) const;
  /// Sets the shell of commands that are texts.
  [[nodiscard]] Stage shell(std::vector<std::string> argv) const;
  [[nodiscard]] Stage cmd(const Command& command) const;
  [[nodiscard]] Stage entrypoint(const Command& command) const;
  /// Adds an instruction as it is written in a Dockerfile.
  [[nodiscard]] Stage instruction(std::string text) const;

  /// Returns the Dockerfile that says the same.
  std::string to_dockerfile() const;

 private:
  friend class Source;
  friend struct detail::Access;
  explicit Stage(std::shared_ptr<const detail::StageNode> node) : node_(std::move(node)) {}
  std::shared_ptr<const detail::StageNode> node_;
};

inline Source::Source(const Stage& stage) : stage_(stage.node_) {}

/// What a builder is made with.
struct BuilderOptions {
  /// The folder of the store; that of the command if absent.
  std::optional<std::filesystem::path> store;
  /// Where images of a registry are asked for first.
  std::map<std::string, std::string> registry_mirrors;
  /// In place of the process's, which says where the store, logins, proxies and certificates are.
  std::optional<std::map<std::string, std::string>> environment;
  /// What the store takes above this goes after a build. A tenth of the disk and at most 20 GiB is usual, 0 is no
  /// limit.
  std::optional<std::uint64_t> store_limit;
  /// How many bytes are to be free on the store's disk: where less is, what nobody needs goes before and after a build.
  /// A twentieth of the disk and at most 10 GiB is usual.
  std::optional<std::uint64_t> store_min_free;
  /// What the store may take however little is free; half of the limit is usual.
  std::optional<std::uint64_t> store_reserved;
};

struct Ulimit {
  std::string name;
  std::uint64_t soft;
  std::uint64_t hard;
};

/// What a build is asked to do.
struct BuildOptions {
  /// The context: a folder, or the address of a repository.
  std::optional<std::string> context;
  /// The context as a tar archive.
  std::optional<std::filesystem::path> context_archive;
  /// The Dockerfile: a path in the context, or an absolute one.
  std::optional<std::string> dockerfile;
  /// The Dockerfile's text.
  std::optional<std::string> dockerfile_text;
  /// What of the context is left out, in place of its ignore file.
  std::optional<std::filesystem::path> ignore_file;
  /// A stage in code, built instead of a Dockerfile, or on one that is named as well.
  std::optional<Stage> stage;
  std::map<std::string, Source> build_contexts;
  std::optional<std::string> target;
  std::map<std::string, std::string> build_args;
  std::map<std::string, std::string> labels;
  /// Variables that the image has not. Steps see them all the same.
  std::vector<std::string> unset_env;
  /// Labels that the image has not.
  std::vector<std::string> unset_labels;
  /// Take over the labels of what a stage starts from.
  bool inherit_labels = true;
  /// "new" makes the layers of the build one, "all" those of the base too.
  std::optional<std::string> squash;
  std::vector<std::string> tags;
  std::optional<std::string> platform;
  bool no_cache = false;
  std::vector<std::string> no_cache_filter;
  /// Commands run again whose results were made longer ago.
  std::optional<std::uint64_t> cache_ttl_ms;
  bool pull = false;
  /// Caches of other builds: a reference, or what --cache-from takes.
  std::vector<std::string> cache_from;
  /// "default", "host", "none", "pasta" or "slirp4netns".
  std::optional<std::string> network;
  std::map<std::string, Secret> secrets;
  /// The socket of an ssh agent, or files of keys, by id.
  std::map<std::string, std::vector<std::filesystem::path>> ssh;
  std::map<std::string, std::string> extra_hosts;
  /// Name servers of steps, by address; "none" leaves the image's /etc/resolv.conf as it is.
  std::vector<std::string> dns;
  std::vector<std::string> dns_search;
  std::vector<std::string> dns_options;
  std::optional<std::uint64_t> shm_bytes;
  /// The most memory of a step; it needs a cgroup, as the next seven do.
  std::optional<std::uint64_t> memory_bytes;
  /// The most memory and swap together; -1 does not limit swap.
  std::optional<std::int64_t> memory_swap_bytes;
  std::optional<std::uint64_t> cpu_shares;
  std::optional<std::uint64_t> cpu_quota_us;
  std::optional<std::uint64_t> cpu_period_us;
  std::optional<std::string> cpuset_cpus;
  std::optional<std::string> cpuset_mems;
  /// The cgroup that those of steps are made in.
  std::optional<std::string> cgroup_parent;
  std::vector<Ulimit> ulimits;
  /// Folders and files of the host that steps see, as --volume has them: "SOURCE:TARGET", "SOURCE:TARGET:ro".
  std::vector<std::string> volumes;
  /// Devices of the host that steps may use: "DEVICE" or "DEVICE:TARGET".
  std::vector<std::string> devices;
  std::optional<std::uint64_t> jobs;
  /// How long a step may take.
  std::optional<std::uint64_t> step_timeout_ms;
  /// How much of what a step writes is told: 2 MiB by default, all if 0.
  std::optional<std::uint64_t> step_log_bytes_max;
  std::optional<std::uint64_t> source_date_epoch;
  /// The same image whenever and wherever it is built.
  bool reproducible = false;
  /// How the image was made goes with it: what --provenance takes, such as "mode=max".
  std::optional<std::string> provenance;
  /// A list of the packages in the image goes with it.
  bool sbom = false;
  std::vector<std::string> allow;
};

/// The form in which an image leaves the store.
struct FormOptions {
  /// Names that it carries in place of its own.
  std::vector<std::string> names;
  /// "gzip", "zstd", "estargz" or "uncompressed".
  std::optional<std::string> compression;
  std::optional<int> compression_level;
  /// Compress the layers of base images anew where they came in another form.
  bool force_compression = false;
  std::optional<bool> oci_media_types;
  /// No file of a layer made by the build is later than this, in seconds since 1970.
  std::optional<std::int64_t> latest_file_time;
  /// By key, or by "LEVEL:KEY" with a level that --annotation takes.
  std::map<std::string, std::string> annotations;
  /// The image is a cache, too, for the cache_from of other builds.
  bool inline_cache = false;
};

/// How an image is written out.
struct ExportOptions : FormOptions {
  /// "oci_directory", "oci_archive", "docker_archive", "directory" or "tar".
  std::string kind = "oci_directory";
};

/// How images are copied.
struct ImageCopyOptions {
  /// Only the image of this platform.
  std::optional<std::string> platform;
  /// Plain HTTP and untrusted certificates will do.
  bool insecure = false;
};

/// How an image is looked at.
struct InspectOptions : ImageCopyOptions {
  /// The attestations are read, too.
  bool predicates = false;
};

/// How an image is pushed.
struct PushOptions : FormOptions {
  /// Give the image no tag.
  bool by_digest = false;
  /// Plain HTTP and untrusted certificates will do.
  bool insecure = false;
};

/// How an image is run.
struct ImageRunOptions {
  /// In place of the image's.
  std::vector<std::string> command;
  std::map<std::string, std::string> env;
  std::optional<std::string> user;
  std::optional<std::string> workdir;
};

/// What is pruned; of what remains nothing is touched.
struct PruneOptions {
  /// Also base images, and results of steps that made no files.
  bool all = false;
  /// Stop when the store takes no more than this.
  std::optional<std::uint64_t> max_used_bytes;
  /// Stop when so much is free on the store's disk; if it is, nothing goes.
  std::optional<std::uint64_t> min_free_bytes;
  /// What the store may keep in any case.
  std::optional<std::uint64_t> reserved_bytes;
  /// Only what was last used before this time.
  std::optional<std::uint64_t> used_before_unix_ms;
  /// Only things of these kinds: "layer", "base_layer", "blob", "cache_mount", "context".
  std::vector<std::string> kinds;
  /// Only things whose names begin so.
  std::vector<std::string> ids;
};

struct PrunedItem {
  std::string kind;
  std::string id;
  std::uint64_t bytes;
  std::uint64_t last_used_unix_ms;
};

struct Pruned {
  std::vector<PrunedItem> items;
  std::uint64_t bytes;
  /// What the store still takes.
  std::uint64_t left_bytes;
};

/// How many things of a kind the store holds, and what they take.
struct Room {
  std::uint64_t count;
  std::uint64_t bytes;
  /// Of these, what images with names need.
  std::uint64_t shared_bytes;
  /// Of these, what could be removed now.
  std::uint64_t reclaimable_bytes;
};

struct CacheUsage {
  Room layers, blobs, cache_mounts, contexts, records;
  std::uint64_t total_bytes;
};

/// When and how often a layer was used.
struct LayerUse {
  std::string id;
  std::uint64_t bytes;
  std::uint64_t last_used_unix_ms;
  std::uint64_t uses;
};

struct Damage {
  std::string path;
  std::string reason;
};

struct CacheVerification {
  std::uint64_t checked;
  std::vector<Damage> damaged;
};

struct HostFinding {
  std::string name;
  bool works;
};

struct HostReport {
  std::string mode;
  std::string reason;
  std::vector<HostFinding> findings;
};

/// A name of the store.
struct NamedEntry {
  std::string name;
  std::string id;
  std::uint64_t tagged_unix_ms;
  std::uint64_t bytes;
};

struct LayerSize {
  std::string created_by;
  std::string diff_id;
  std::uint64_t bytes;
};

struct StageSize {
  std::string name;
  std::uint64_t bytes;
};

struct Sizes {
  std::vector<LayerSize> layers;
  std::uint64_t total_bytes;
  std::vector<StageSize> stages;
  std::uint64_t saved_bytes;
};

}  // namespace stagewright
