// What a build tells while it runs, and what it would do.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "describe.hpp"

namespace stagewright {

/// Something that a build does.
struct Vertex {
  std::uint64_t id;
  std::string name;
  std::string stage;
  std::vector<std::uint64_t> inputs;
  std::optional<int> line;
  /// False for what is not a step of the plan: reading the Dockerfile, finding an image.
  bool step;
};

/// One difference between two runs of a step.
struct Change {
  std::string input;
  std::optional<std::string> name, before, after;
};

/// Why a result was not in the cache.
struct Miss {
  /// "first_run", "no_cache", "changed", "too_old" or "evicted".
  std::string reason;
  std::string text;
  std::vector<Change> changes;
};

/// More vertices are known.
struct Planned {
  std::uint64_t at_ms;
  std::vector<Vertex> vertices;
};

/// A vertex began.
struct Started {
  std::uint64_t at_ms;
  std::uint64_t vertex;
};

/// A step wrote to its standard output or error.
struct Log {
  std::uint64_t at_ms;
  std::uint64_t vertex;
  /// "stdout" or "stderr".
  std::string stream;
  std::string text;
};

/// Bytes were moved.
struct Progress {
  std::uint64_t at_ms;
  std::uint64_t vertex;
  std::string label;
  std::uint64_t current_bytes;
  std::optional<std::uint64_t> total_bytes;
};

/// A vertex ended.
struct Finished {
  std::uint64_t at_ms;
  std::uint64_t vertex;
  /// "hit", "executed", "shared", "failed" or "cancelled".
  std::string outcome;
  std::optional<Miss> miss;
  std::optional<std::string> message;
};

/// Something that does not stop the build and that a person should know.
struct Warning {
  std::uint64_t at_ms;
  std::string message;
  std::optional<int> line;
  /// What a build check found, if it was one that warns.
  std::optional<Finding> finding;
};

/// Read it with std::visit or std::get_if.
using Event = std::variant<Planned, Started, Log, Progress, Finished, Warning>;

/// What a build would do with one vertex.
struct Explained {
  std::uint64_t vertex;
  std::string name;
  std::string stage;
  std::optional<int> line;
  std::vector<std::uint64_t> inputs;
  /// "hit", "miss", "depends_on", "unknown" or "source".
  std::string verdict;
  std::optional<Miss> miss;
  /// The vertices whose results it waits for.
  std::vector<std::uint64_t> depends_on;
  /// Why nothing can be said.
  std::optional<std::string> why;
};

}  // namespace stagewright
