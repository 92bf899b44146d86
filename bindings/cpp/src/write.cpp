// What goes into the library.
#include "json.hpp"

namespace stagewright {

std::string written(const Json& json) {
  try {
    return json.dump();
  } catch (const Json::exception&) {
    raise({"request", "a text is not UTF-8", {}, {}, {}, {}, {}, {}, {}, {}});
  }
}

Json secret_json(const Secret& secret) {
  if (const auto* path = std::get_if<std::filesystem::path>(&secret.value())) return {{"file", path->string()}};
  // Bytes, since a secret need not be UTF-8.
  Json bytes = Json::array();
  for (const unsigned char byte : std::get<std::string>(secret.value())) bytes.push_back(byte);
  return {{"bytes", std::move(bytes)}};
}

std::string request_json(const BuildOptions& options) {
  Table table;
  Json json = {
      {"build_args", options.build_args},
      {"labels", options.labels},
      {"unset_env", options.unset_env},
      {"unset_labels", options.unset_labels},
      {"inherit_labels", options.inherit_labels},
      {"tags", options.tags},
      {"no_cache", options.no_cache},
      {"no_cache_filter", options.no_cache_filter},
      {"pull", options.pull},
      {"cache_from", options.cache_from},
      {"extra_hosts", options.extra_hosts},
      {"dns", options.dns},
      {"dns_search", options.dns_search},
      {"dns_options", options.dns_options},
      {"volumes", options.volumes},
      {"devices", options.devices},
      {"reproducible", options.reproducible},
      {"sbom", options.sbom},
      {"allow", options.allow},
      {"ulimits", Json::array()},
      {"secrets", Json::object()},
      {"ssh", Json::object()},
      {"build_contexts", Json::object()},
  };
  put(json, "context", options.context);
  if (options.context_archive) json["context_archive"] = options.context_archive->string();
  if (options.ignore_file) json["ignore_file"] = options.ignore_file->string();
  put(json, "dockerfile", options.dockerfile);
  put(json, "dockerfile_text", options.dockerfile_text);
  put(json, "target", options.target);
  put(json, "squash", options.squash);
  put(json, "platform", options.platform);
  put(json, "network", options.network);
  put(json, "shm_bytes", options.shm_bytes);
  put(json, "memory_bytes", options.memory_bytes);
  put(json, "memory_swap_bytes", options.memory_swap_bytes);
  put(json, "cpu_shares", options.cpu_shares);
  put(json, "cpu_quota_us", options.cpu_quota_us);
  put(json, "cpu_period_us", options.cpu_period_us);
  put(json, "cpuset_cpus", options.cpuset_cpus);
  put(json, "cpuset_mems", options.cpuset_mems);
  put(json, "cgroup_parent", options.cgroup_parent);
  put(json, "jobs", options.jobs);
  put(json, "cache_ttl_ms", options.cache_ttl_ms);
  put(json, "step_timeout_ms", options.step_timeout_ms);
  put(json, "step_log_bytes_max", options.step_log_bytes_max);
  put(json, "source_date_epoch", options.source_date_epoch);
  put(json, "provenance", options.provenance);
  for (const auto& limit : options.ulimits) json["ulimits"].push_back({limit.name, limit.soft, limit.hard});
  for (const auto& [id, value] : options.secrets) json["secrets"][id] = secret_json(value);
  for (const auto& [id, paths] : options.ssh) {
    for (const auto& path : paths) json["ssh"][id].push_back(path.string());
  }
  for (const auto& [name, source] : options.build_contexts) json["build_contexts"][name] = table.name(source);
  if (options.stage) json["stage"] = table.name(*options.stage).at("stage");
  json["stages"] = table.stages();
  return written(json);
}

namespace {

Json form_json(const FormOptions& options) {
  Json json = {{"names", options.names},
               {"force_compression", options.force_compression},
               {"annotations", options.annotations},
               {"inline_cache", options.inline_cache}};
  put(json, "compression", options.compression);
  put(json, "compression_level", options.compression_level);
  put(json, "oci_media_types", options.oci_media_types);
  put(json, "latest_file_time", options.latest_file_time);
  return json;
}

}  // namespace

std::string export_json(const std::filesystem::path& dest, const ExportOptions& options) {
  Json json = form_json(options);
  json["kind"] = options.kind;
  json["dest"] = dest.string();
  return written(json);
}

std::string push_json(const PushOptions& options) {
  Json json = form_json(options);
  json["by_digest"] = options.by_digest;
  json["insecure"] = options.insecure;
  return written(json);
}

std::string run_json(const ImageRunOptions& options) {
  Json json = {{"command", options.command}, {"env", options.env}};
  put(json, "user", options.user);
  put(json, "workdir", options.workdir);
  return written(json);
}

namespace {

Json copy_options(const ImageCopyOptions& options) {
  Json json = {{"insecure", options.insecure}};
  put(json, "platform", options.platform);
  return json;
}

}  // namespace

std::string copy_json(const ImageCopyOptions& options) {
  return written(copy_options(options));
}

std::string inspect_json(const InspectOptions& options) {
  Json json = copy_options(options);
  json["predicates"] = options.predicates;
  return written(json);
}

std::string prune_json(const PruneOptions& options) {
  Json json = {{"all", options.all}, {"kinds", options.kinds}, {"ids", options.ids}};
  put(json, "max_used_bytes", options.max_used_bytes);
  put(json, "min_free_bytes", options.min_free_bytes);
  put(json, "reserved_bytes", options.reserved_bytes);
  put(json, "used_before_unix_ms", options.used_before_unix_ms);
  return written(json);
}

}  // namespace stagewright
