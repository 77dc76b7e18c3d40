// What people read of a launch that fails.
#include "engine.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

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

// Every warp: where its lanes are.
std::string Machine::deadlock() const {
  std::string text = "deadlock in " + place();
  for (const Warp& warp : warps_) {
    for (int lane = 0; lane < warp.lanes;) {
      const Fibre& fibre = fibres_[warp.first + lane];
      const bool waiting = waits(fibre.state);
      auto same = [&](const Fibre& other) {
        return other.state == fibre.state && (!waiting || other.where.line == fibre.where.line);
      };
      int end = lane + 1;
      while (end < warp.lanes && same(fibres_[warp.first + end])) ++end;
      text += "\n  warp " + std::to_string(&warp - warps_.data()) + ", lanes " + std::to_string(lane) + "-" +
              std::to_string(end - 1) + ": " + emulator::text(fibre.state);
      if (waiting) text += std::string(fibre.word) + " at " + fibre.where.file + ":" + std::to_string(fibre.where.line);
      if (fibre.state == State::AtMbarrier) text += mbarriers_.lacks(fibre.barrier);
      lane = end;
    }
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
    snprintf(text, sizeof text, "%zu bytes before the device buffer of %zu bytes at %#zx", start - address, bytes, start);
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
