#include "mbarriers.h"
#include "engine.h"
#include <algorithm>

namespace emulator {

void Mbarriers::init(void* barrier, int arrivals, Where where) {
  Machine& machine = emulator::machine();
  expect_shared_aligned(barrier, 8, where);
  if (arrivals < 1) machine.fail("mbarrier::init for %d arrivals at %s:%d", arrivals, where.file, where.line);
  note_write(barrier, 8, where);
  Mbarrier& fresh = all_[barrier];
  fresh = {arrivals, arrivals, 0, 0, false, {}, 0, {}, nullptr};
  if (machine.checked()) fresh.told = machine.checker().clocks().nothing();
}

Mbarrier& Mbarriers::at(const void* barrier, const char* word, Where where) {
  const auto found = all_.find(barrier);
  if (found == all_.end()) {
    machine().fail("%s at %s:%d, but nobody has initialised this mbarrier (%s)", word, where.file, where.line,
                   machine().describe(reinterpret_cast<uintptr_t>(barrier)).c_str());
  }
  // Initialising is an ordinary write, which everybody else's use must come after.
  note_read(barrier, 8, where);
  return found->second;
}

void Mbarriers::publish() {
  for (auto& [key, barrier] : all_) barrier.published = true;
}

bool Mbarriers::end_phase(const void* key, Mbarrier& barrier) {
  if (barrier.missing > 0 || barrier.due != barrier.bytes_on_way) return false;
  for (const Load& load : barrier.loads) {
    for (const Piece& piece : load.pieces) {
      if (piece.from)
        memcpy(piece.to, piece.from, piece.bytes);
      else
        memset(piece.to, 0, piece.bytes);
    }
    if (machine().checked()) barrier.told.seen[load.agent] = std::max(barrier.told.seen[load.agent], load.time);
  }
  if (machine().checked()) barrier.ended = std::make_shared<const Knowledge>(barrier.told);
  barrier.loads.clear();
  barrier.due = barrier.bytes_on_way = 0;
  barrier.missing = barrier.arrivals;
  ++barrier.phase;
  machine().wake(State::AtMbarrier, key);
  return true;
}

void Mbarriers::arrive(void* key, uint32_t bytes, Where where) {
  const char* word = bytes ? "mbarrier::expect_bytes" : "mbarrier::arrive";
  Mbarrier& barrier = at(key, word, where);
  if (barrier.missing == 0 && !end_phase(key, barrier)) {
    machine().fail("%s at %s:%d: one arrival more than the %d of the phase, which still waits for bytes", word,
                   where.file, where.line, barrier.arrivals);
  }
  if (machine().checked()) machine().checker().clocks().tell(barrier.told, current->index);
  --barrier.missing;
  barrier.due += bytes;
  if (machine().anybody(State::AtMbarrier, key)) end_phase(key, barrier);
}

void Mbarriers::load(void* key, Load load, Where where) {
  Mbarrier& barrier = at(key, "tma::load", where);
  if (!barrier.published) {
    machine().fail("tma::load at %s:%d: copies cannot see the mbarrier before fence::barrier_init", where.file,
                   where.line);
  }
  if (barrier.missing == 0) end_phase(key, barrier);
  barrier.bytes_on_way += load.bytes;
  barrier.loads.push_back(std::move(load));
  if (machine().anybody(State::AtMbarrier, key)) end_phase(key, barrier);
}

void Mbarriers::wait(void* key, uint32_t parity, Where where) {
  if (parity > 1) machine().fail("mbarrier::wait for parity %u at %s:%d", parity, where.file, where.line);
  Mbarrier& barrier = at(key, "mbarrier::wait", where);
  if ((barrier.phase & 1) == parity) end_phase(key, barrier);
  while ((barrier.phase & 1) == parity) machine().block_on(State::AtMbarrier, key, where, "mbarrier::wait");
  if (barrier.ended) machine().checker().clocks().learn(current->index, barrier.ended);
}

std::string Mbarriers::lacks(const void* key) const {
  const auto found = all_.find(key);
  if (found == all_.end()) return "";
  const Mbarrier& barrier = found->second;
  std::string text = " (phase " + std::to_string(barrier.phase) + ": " +
                     std::to_string(barrier.arrivals - barrier.missing) + " of " + std::to_string(barrier.arrivals) +
                     " arrivals have come";
  if (barrier.due != barrier.bytes_on_way) {
    text += ", " + std::to_string(barrier.due) + " bytes are expected, copies bring " +
            std::to_string(barrier.bytes_on_way);
  }
  return text + ")";
}

bool Mbarriers::has_loads() const {
  return std::any_of(all_.begin(), all_.end(), [](const auto& entry) { return !entry.second.loads.empty(); });
}

void mbarrier_init(void* barrier, int arrivals, Where where) { machine().mbarriers().init(barrier, arrivals, where); }

void mbarrier_arrive(void* barrier, uint32_t bytes, Where where) {
  machine().mbarriers().arrive(barrier, bytes, where);
}

void mbarrier_wait(void* barrier, uint32_t parity, Where where) { machine().mbarriers().wait(barrier, parity, where); }

void fence_barrier_init(Where) { machine().mbarriers().publish(); }

void fence_async_proxy(Where) {
  machine().mbarriers().publish();
  if (machine().checked()) machine().checker().clocks().fence(current->index);
}

}  // namespace emulator
