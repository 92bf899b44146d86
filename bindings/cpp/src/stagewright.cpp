// Builders, builds and images.
#include "stagewright/stagewright.hpp"

#include <unistd.h>

#include <exception>

#include "bridge.hpp"

namespace stagewright {

struct Image::Inner {
  rust::Box<native::NativeImage> image;
  std::string id;
  std::vector<std::string> names;
  std::string config;

  explicit Inner(rust::Box<native::NativeImage> made) : image(std::move(made)) {
    const auto json = Json::parse(std::string(calling([&] { return image->describe(); })));
    id = json.at("id");
    names = json.at("names").get<std::vector<std::string>>();
    config = json.at("config").dump();
  }
};

struct RunCanceller::Inner {
  rust::Box<native::NativeCanceller> canceller;
};

struct Build::Inner {
  rust::Box<native::NativeBuild> build;
};

struct Builder::Inner {
  rust::Box<native::NativeBuilder> builder;
};

RunCanceller::RunCanceller()
    : inner_(std::make_shared<const Inner>(Inner{calling([] { return native::new_canceller(); })})) {}

void RunCanceller::cancel() const {
  calling([&] { inner_->canceller->cancel(); });
}

const std::string& Image::id() const { return inner_->id; }
const std::vector<std::string>& Image::names() const { return inner_->names; }
const std::string& Image::config_json() const { return inner_->config; }

Sizes Image::sizes() const {
  return read_sizes(std::string(calling([&] { return inner_->image->sizes(); })));
}

namespace {

std::optional<std::string> digest(const rust::String& text) {
  if (text.empty()) return std::nullopt;
  return std::string(text);
}

/// Tells what happens during some work until it has ended.
void tell(const native::NativeTransfer& work, const OnEvent& on_event) {
  if (!on_event) return calling([&] { work.drop_events(); });
  std::exception_ptr fault;
  for (;;) {
    const auto text = std::string(calling([&] { return work.next_event(); }));
    if (text.empty()) break;
    const auto event = read_event(text);
    if (!event || fault) continue;
    try {
      on_event(*event);
    } catch (...) {
      fault = std::current_exception();
    }
  }
  if (fault) std::rethrow_exception(fault);
}

/// Tells what happens during some work, and returns the texts that come of it.
std::vector<std::string> texts(const rust::Box<native::NativeTransfer>& work, const OnEvent& on_event) {
  tell(*work, on_event);
  std::vector<std::string> found;
  for (const auto& one : calling([&] { return work->texts(); })) found.emplace_back(one);
  return found;
}

std::optional<std::string> digest(const std::vector<std::string>& texts) {
  if (texts.empty()) return std::nullopt;
  return texts.front();
}

}  // namespace

int Image::run(const ImageRunOptions& options) const { return run(options, RunCanceller()); }

int Image::run(const ImageRunOptions& options, const RunCanceller& canceller) const {
  const auto json = run_json(options);
  return calling([&] { return inner_->image->run(json, *canceller.inner_->canceller); });
}

std::optional<std::string> Image::export_to(const std::filesystem::path& dest, const ExportOptions& options) const {
  return export_images({*this}, dest, options);
}

std::optional<std::string> Image::push(const PushOptions& options, const OnEvent& on_event) const {
  return push_images({*this}, options, on_event);
}

struct detail::Images {
  static rust::Box<native::NativeImages> natives(const std::vector<Image>& images) {
    auto all = native::new_images();
    for (const auto& image : images) calling([&] { all->add(*image.inner_->image); });
    return all;
  }
};

std::optional<std::string> export_images(const std::vector<Image>& images, const std::filesystem::path& dest,
                                         const ExportOptions& options) {
  const auto json = export_json(dest, options);
  const auto all = detail::Images::natives(images);
  return digest(calling([&] { return all->export_to(json); }));
}

std::optional<std::string> push_images(const std::vector<Image>& images, const PushOptions& options,
                                       const OnEvent& on_event) {
  const auto json = push_json(options);
  const auto all = detail::Images::natives(images);
  return digest(texts(calling([&] { return all->push(json); }), on_event));
}

std::optional<std::string> Image::export_cache(const std::string& to, const OnEvent& on_event) const {
  return digest(texts(calling([&] { return inner_->image->export_cache(to); }), on_event));
}

Image Build::wait() {
  const auto inner = inner_;
  calling([&] { inner->build->drop_events(); });
  return Image(std::make_shared<const Image::Inner>(calling([&] { return inner->build->wait(); })));
}

Image Build::wait(const OnEvent& on_event) {
  if (!on_event) return wait();
  try {
    while (const auto event = next_event()) on_event(*event);
  } catch (...) {
    cancel();
    try {
      wait();
    } catch (const Error&) {
      // That it was cancelled is known.
    }
    throw;
  }
  return wait();
}

std::optional<Event> Build::next_event() {
  const auto inner = inner_;
  for (;;) {
    const auto text = std::string(calling([&] { return inner->build->next_event(); }));
    if (text.empty()) return std::nullopt;
    if (auto event = read_event(text)) return event;
  }
}

void Build::cancel() {
  calling([&] { inner_->build->cancel(); });
}

Builder::Builder(const BuilderOptions& options) {
  rust::Vec<rust::String> mirrors;
  for (const auto& [name, place] : options.registry_mirrors) mirrors.push_back(rust::String::lossy(name + "=" + place));
  rust::Vec<rust::String> environment;
  if (options.environment) {
    for (const auto& [name, value] : *options.environment) environment.push_back(rust::String::lossy(name + "=" + value));
  } else {
    for (char** pair = environ; pair != nullptr && *pair != nullptr; ++pair) {
      environment.push_back(rust::String::lossy(*pair));
    }
  }
  const auto store = options.store ? options.store->string() : std::string();
  const auto named = text(store);
  const auto number = [](const std::optional<std::uint64_t>& bytes) { return bytes ? std::to_string(*bytes) : std::string(); };
  const auto limit = number(options.store_limit);
  const auto min_free = number(options.store_min_free);
  const auto reserved = number(options.store_reserved);
  inner_ = std::make_shared<const Inner>(Inner{calling([&] {
    return native::open_builder(named, std::move(mirrors), std::move(environment), text(limit), text(min_free),
                                text(reserved));
  })});
}

Image Builder::build(const BuildOptions& options, const OnEvent& on_event) const {
  return start(options).wait(on_event);
}

Build Builder::start(const BuildOptions& options) const {
  const auto json = request_json(options);
  return Build(std::make_shared<Build::Inner>(
      Build::Inner{calling([&] { return inner_->builder->start(json); })}));
}

std::vector<Explained> Builder::explain(const BuildOptions& options) const {
  const auto json = request_json(options);
  return read_explained(std::string(calling([&] { return inner_->builder->explain(json); })));
}

CheckReport Builder::check(const BuildOptions& options) const {
  const auto json = request_json(options);
  return read_checks(std::string(calling([&] { return inner_->builder->check(json); })));
}

Outline Builder::outline(const BuildOptions& options) const {
  const auto json = request_json(options);
  return read_outline(std::string(calling([&] { return inner_->builder->outline(json); })));
}

Targets Builder::targets(const BuildOptions& options) const {
  const auto json = request_json(options);
  return read_targets(std::string(calling([&] { return inner_->builder->targets(json); })));
}

Image Builder::image(const std::string& name) const {
  const auto named = text(name);
  return Image(std::make_shared<const Image::Inner>(calling([&] { return inner_->builder->image(named); })));
}

std::vector<NamedEntry> Builder::images() const {
  return read_entries(std::string(calling([&] { return inner_->builder->images(); })));
}

void Builder::tag_image(const std::string& name, const std::string& new_name) const {
  const auto from = text(name);
  const auto to = text(new_name);
  calling([&] { inner_->builder->tag_image(from, to); });
}

void Builder::remove_image(const std::string& name) const {
  const auto named = text(name);
  calling([&] { inner_->builder->remove_image(named); });
}

Image Builder::pull_image(const std::string& name, const ImageCopyOptions& options, const OnEvent& on_event) const {
  const auto named = text(name);
  const auto json = copy_json(options);
  const auto work = calling([&] { return inner_->builder->pull_image(named, json); });
  tell(*work, on_event);
  return Image(std::make_shared<const Image::Inner>(calling([&] { return work->image(); })));
}

std::vector<std::string> Builder::load_images(const std::filesystem::path& path, const ImageCopyOptions& options,
                                              const OnEvent& on_event) const {
  const auto file = path.string();
  const auto named = text(file);
  const auto json = copy_json(options);
  return texts(calling([&] { return inner_->builder->load_images(named, json); }), on_event);
}

std::optional<std::string> Builder::copy_image(const std::string& source, const std::string& dest,
                                               const ImageCopyOptions& options, const OnEvent& on_event) const {
  const auto from = text(source);
  const auto to = text(dest);
  const auto json = copy_json(options);
  return digest(texts(calling([&] { return inner_->builder->copy_image(from, to, json); }), on_event));
}

std::string Builder::inspect_image(const std::string& place, const InspectOptions& options) const {
  const auto named = text(place);
  const auto json = inspect_json(options);
  return std::string(calling([&] { return inner_->builder->inspect_image(named, json); }));
}

CacheUsage Builder::cache_usage() const {
  return read_usage(std::string(calling([&] { return inner_->builder->cache_usage(); })));
}

std::vector<LayerUse> Builder::layer_uses() const {
  return read_uses(std::string(calling([&] { return inner_->builder->layer_uses(); })));
}

Pruned Builder::prune_cache(const PruneOptions& options) const {
  const auto json = prune_json(options);
  return read_pruned(std::string(calling([&] { return inner_->builder->prune_cache(json); })));
}

CacheVerification Builder::verify_cache(bool repair) const {
  return read_verification(std::string(calling([&] { return inner_->builder->verify_cache(repair); })));
}

HostReport Builder::host_report() const {
  return read_host(std::string(calling([&] { return inner_->builder->host_report(); })));
}

}  // namespace stagewright
