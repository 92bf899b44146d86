// Container images from Dockerfiles, built inside your process: no daemon, no Docker.
//
//   stagewright::Builder builder;
//   auto image = builder.build({.context = ".", .tags = {"app:1"}});   // C++20; fill in the struct with C++17
//   image.export_to("out");
//
// Everything here may be used from any thread. What fails throws a stagewright::Error.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "errors.hpp"
#include "events.hpp"
#include "stage.hpp"

namespace stagewright {

/// Takes the events of a build, or of images on their way, on the thread that waits. What it throws cancels a build; other
/// work is brought to its end first.
using OnEvent = std::function<void(const Event&)>;

/// Stops an image that runs, from any thread. Copies stop the same.
class STAGEWRIGHT_API RunCanceller {
 public:
  RunCanceller();
  /// Kills everything in the run.
  void cancel() const;

 private:
  friend class Image;
  struct Inner;
  std::shared_ptr<const Inner> inner_;
};

/// An image that was built, or that has a name in the store. Copies are the same image.
class STAGEWRIGHT_API Image {
 public:
  /// The digest of the config: Docker's image id.
  const std::string& id() const;
  /// The names in the store.
  const std::vector<std::string>& names() const;
  /// The config, in the JSON of the OCI image specification.
  const std::string& config_json() const;
  /// Says how large the image is, by layer and by stage.
  Sizes sizes() const;
  /// Runs the image on this process's standard streams, and returns the exit code. What it writes to its files is
  /// thrown away.
  int run(const ImageRunOptions& options = {}) const;
  /// The same; stopped from elsewhere it throws a BuildCancelledError.
  int run(const ImageRunOptions& options, const RunCanceller& canceller) const;
  /// Writes the image out. Returns the digest of its manifest, if the form has one.
  std::optional<std::string> export_to(const std::filesystem::path& dest, const ExportOptions& options = {}) const;
  /// Pushes the image to the registries of its names. Returns the manifest's digest.
  std::optional<std::string> push(const PushOptions& options = {}, const OnEvent& on_event = nullptr) const;
  /// Exports the cache of the build that made the image; `to` is what --cache-to takes:
  /// "type=registry,ref=REF,mode=max", "type=local,dest=FOLDER". Only an image that was just built has a
  /// cache. Returns the manifest's digest.
  std::optional<std::string> export_cache(const std::string& to, const OnEvent& on_event = nullptr) const;

  bool operator==(const Image& other) const { return id() == other.id(); }
  bool operator!=(const Image& other) const { return id() != other.id(); }

 private:
  friend class Build;
  friend class Builder;
  friend struct detail::Images;
  struct Inner;
  explicit Image(std::shared_ptr<const Inner> inner) : inner_(std::move(inner)) {}
  std::shared_ptr<const Inner> inner_;
};

/// Writes images of several platforms out as one. Returns the digest of the index, if the form has one.
STAGEWRIGHT_API std::optional<std::string> export_images(const std::vector<Image>& images,
                                                         const std::filesystem::path& dest,
                                                         const ExportOptions& options = {});
/// Pushes images of several platforms as one. Returns the digest of the index.
STAGEWRIGHT_API std::optional<std::string> push_images(const std::vector<Image>& images,
                                                       const PushOptions& options = {},
                                                       const OnEvent& on_event = nullptr);

/// A build that was started. It is cancelled when the last copy goes before its end.
class STAGEWRIGHT_API Build {
 public:
  /// Blocks until the build has ended, and returns the image or throws what stopped it.
  Image wait();
  /// The same; gives every event that was not read yet to a function first. What the function
  /// throws cancels the build and is thrown on when nothing runs any more.
  Image wait(const OnEvent& on_event);
  /// Blocks until the next event; nothing when the build has ended.
  std::optional<Event> next_event();
  /// Stops the build, from any thread: its steps are killed, what was finished stays cached.
  void cancel();

 private:
  friend class Builder;
  struct Inner;
  explicit Build(std::shared_ptr<Inner> inner) : inner_(std::move(inner)) {}
  std::shared_ptr<Inner> inner_;
};

/// Builds images. Copies share everything; a child made by fork() opens its own.
class STAGEWRIGHT_API Builder {
 public:
  /// Opens a store, or makes it: that of the command if none is named.
  explicit Builder(const BuilderOptions& options = {});

  /// Builds an image and returns it.
  Image build(const BuildOptions& options, const OnEvent& on_event = nullptr) const;
  /// Starts a build at once and returns it.
  Build start(const BuildOptions& options) const;
  /// Says what a build would do, and why, without doing it.
  std::vector<Explained> explain(const BuildOptions& options) const;

  /// Runs the build checks on what would be built.
  CheckReport check(const BuildOptions& options) const;
  /// Says what the target takes: arguments, secrets, SSH agents, caches.
  Outline outline(const BuildOptions& options) const;
  /// Lists the stages that could be built.
  Targets targets(const BuildOptions& options) const;

  /// Finds an image by its name in the store.
  Image image(const std::string& name) const;
  /// Lists the names in the store.
  std::vector<NamedEntry> images() const;
  /// Gives an image another name.
  void tag_image(const std::string& name, const std::string& new_name) const;
  /// Removes a name from the store.
  void remove_image(const std::string& name) const;

  /// Pulls an image from its registry into the store, under its name.
  Image pull_image(const std::string& name, const ImageCopyOptions& options = {},
                   const OnEvent& on_event = nullptr) const;
  /// Loads the images of an archive or layout into the store, and returns their names.
  std::vector<std::string> load_images(const std::filesystem::path& path, const ImageCopyOptions& options = {},
                                       const OnEvent& on_event = nullptr) const;
  /// Copies an image from one place to another, and returns its digest. Places are names in the store,
  /// docker://NAME, oci:PATH[:NAME], oci-archive:FILE, docker-archive:FILE, containers-storage:NAME and
  /// docker-daemon:NAME.
  std::optional<std::string> copy_image(const std::string& source, const std::string& dest,
                                        const ImageCopyOptions& options = {},
                                        const OnEvent& on_event = nullptr) const;
  /// Looks at an image in any place: its config, platforms, and what is attested of it, in JSON.
  std::string inspect_image(const std::string& place, const InspectOptions& options = {}) const;

  /// Measures what the store takes on disk.
  CacheUsage cache_usage() const;
  /// Lists the layers of the store, the least recently used first.
  std::vector<LayerUse> layer_uses() const;
  /// Removes from the store what nobody needs, the least recently used first.
  Pruned prune_cache(const PruneOptions& options = {}) const;
  /// Checks what the store holds against its digests; moves what is damaged aside if told so.
  CacheVerification verify_cache(bool repair = false) const;
  /// Says what this host can do for steps.
  HostReport host_report() const;

 private:
  struct Inner;
  std::shared_ptr<const Inner> inner_;
};

}  // namespace stagewright
