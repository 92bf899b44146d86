// The bridge to the Rust half.
#pragma once

#include "json.hpp"
#include "rust/cxx.h"
#include "stagewright-cpp/src/bridge.rs.h"

namespace stagewright {

/// Calls the Rust half, and throws the exception of an error's kind.
template <typename Call>
auto calling(Call&& call) -> decltype(call()) {
  try {
    return call();
  } catch (const rust::Error& error) {
    raise(read_error(error.what()));
  }
}

/// A text for the Rust half; throws a RequestError if it is no UTF-8.
inline rust::Str text(const std::string& value) {
  try {
    return {value.data(), value.size()};
  } catch (const std::invalid_argument&) {
    raise({"request", "a text is not UTF-8", {}, {}, {}, {}, {}, {}, {}, {}});
  }
}

}  // namespace stagewright
