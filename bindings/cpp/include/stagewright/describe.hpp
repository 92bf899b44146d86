// What a Dockerfile offers, and what is better avoided in it.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace stagewright {

/// Something in a Dockerfile that better were otherwise.
struct Finding {
  std::string rule;
  std::string description;
  std::string url;
  std::string message;
  std::optional<std::string> help;
  int line;
  int end_line;
  int column;
  /// The place in the Dockerfile, ready to print.
  std::string drawing;
};

/// What the build checks found.
struct CheckReport {
  std::vector<Finding> findings;
  /// The file asks that findings fail the build, and there are some.
  bool failed;
  std::string file;
  std::string text;
};

/// A stage that can be built.
struct Target {
  std::optional<std::string> name;
  /// It is built when no target is named.
  bool is_default;
  std::optional<std::string> description;
  std::string base;
  std::optional<std::string> platform;
  std::pair<int, int> lines;
};

/// The stages of a Dockerfile.
struct Targets {
  std::vector<Target> targets;
  std::string text;
};

/// A build argument that a target uses.
struct OutlineArg {
  std::string name;
  std::optional<std::string> description;
  std::optional<std::string> value;
  std::pair<int, int> lines;
};

/// A secret, an SSH agent or a cache that steps of a target mount.
struct OutlineMount {
  std::string name;
  bool required;
  std::pair<int, int> lines;
};

/// What a target takes.
struct Outline {
  std::optional<std::string> name;
  std::optional<std::string> description;
  std::vector<OutlineArg> args;
  std::vector<OutlineMount> secrets, ssh, caches;
  std::string text;
};

}  // namespace stagewright
