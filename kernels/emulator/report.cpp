// What people read of a launch that fails.
#include "engine.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <algorithm>

namespace emulator {

namespace {

const char* text(State state) {
  switch (state) {
    case State::Fresh: return "has not begun";
    case State::Ready: return "can go on";
    case State::Finished: return "has finished";
    default: return "waits in ";
  }
}

}  // namespace

std::string Machine::place() const {
  return std::string(symbol_) + ", block " + std::to_string(index[0]) + "," + std::to_string(index[1]) + "," +
         std::to_string(index[2]);
}

// Where everybody is, neighbouring lanes and warps in one place together.
std::string Machine::deadlock() const {
  auto where_is = [&](const Fibre& fibre) {
    std::string text = emulator::text(fibre.state);
    if (!waits(fibre.state)) return text;
    text += std::string(fibre.word) + " at " + fibre.where.file + ":" + std::to_string(fibre.where.line);
    return fibre.state == State::AtMbarrier ? text + mbarriers_.lacks(fibre.barrier) : text;
  };
  auto range = [](const char* what, int first, int end) {
    std::string text = std::string(what) + (end - first > 1 ? "s " : " ") + std::to_string(first);
    return end - first > 1 ? text + "-" + std::to_string(end - 1) : text;
  };
  std::string text = "deadlock in " + place();
  for (int i = 0; i < threads;) {
    const std::string here = where_is(fibres_[i]);
    int end = i + 1;
    while (end < threads && where_is(fibres_[end]) == here) ++end;
    const bool whole = i % LANES == 0 && (end == threads || end - i >= LANES);
    if (!whole)
      end = std::min(end, (i / LANES + 1) * LANES);
    else if (end < threads)
      end = end / LANES * LANES;
    text += "\n  " + range("warp", i / LANES, (end + LANES - 1) / LANES);
    if (!whole) text += ", " + range("lane", i % LANES, (end - 1) % LANES + 1);
    text += ": " + here;
    i = end;
  }
  return text;
}

std::string Machine::describe(uintptr_t address) const {
  char text[512];
  const uintptr_t shared = reinterpret_cast<uintptr_t>(shared_);
  if (address - shared < SHARED_BYTES) {
    const size_t offset = address - shared;
    for (const SharedArray& array : arrays_) {
      if (offset - array.offset >= array.bytes) continue;
      snprintf(text, sizeof text, "byte %zu of the shared array %s", offset - array.offset, array.name);
      return text;
    }
    snprintf(text, sizeof text, "byte %zu of dynamic shared memory", offset);
    return text;
  }
  uintptr_t start;
  size_t bytes;
  if (!find_buffer(address, start, bytes)) {
    snprintf(text, sizeof text, "address %#zx", size_t(address));
  } else if (address < start) {
    snprintf(text, sizeof text, "%zu bytes before the device buffer of %zu bytes at %#zx", start - address, bytes,
             start);
  } else if (address - start < bytes) {
    snprintf(text, sizeof text, "byte %zu of the device buffer of %zu bytes at %#zx", address - start, bytes, start);
  } else {
    snprintf(text, sizeof text, "%zu bytes behind the end of the device buffer of %zu bytes at %#zx",
             address - start - bytes, bytes, start);
  }
  return text;
}

void Machine::fail(const char* format, ...) {
  char what[4096];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(what, sizeof what, format, arguments);
  va_end(arguments);
  message_ = place() + ", thread " + std::to_string(current->index) + ": " + what;
  void* nowhere;
  sargent_switch_fibre(&nowhere, scheduler_);
  abort();
}

void fail_at(uintptr_t address) {
  Machine& machine = emulator::machine();
  if (machine.is_stack(address)) machine.fail("the thread needs more stack than there is");
  machine.fail("access to memory that is not there: %s", machine.describe(address).c_str());
}

void* top_of_stack() { return machine().self().stack_top; }

}  // namespace emulator
