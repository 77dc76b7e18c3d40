#include "engine.h"
#include <stdlib.h>
#include <algorithm>
#include <numeric>

namespace emulator {

__thread Thread* current = nullptr;

namespace {

void enter_kernel() { machine().enter(); }

}  // namespace

Machine& machine() {
  static thread_local Machine machine;
  return machine;
}

Machine::Machine() {
  memory_.resize(SHARED_BYTES + SHARED_ALIGNMENT);
  const uintptr_t start = reinterpret_cast<uintptr_t>(memory_.data());
  shared_ = reinterpret_cast<unsigned char*>((start + SHARED_ALIGNMENT - 1) / SHARED_ALIGNMENT * SHARED_ALIGNMENT);
}

bool Machine::launch(const char* symbol, void (*kernel)(const void*), const sargent_emulator_launch_shape& shape,
                     const void* parameters, std::string& message) {
  symbol_ = symbol;
  kernel_ = kernel;
  parameters_ = parameters;
  dynamic_bytes_ = shape.shared_bytes;
  checked_ = shape.checked;
  bank_conflicts = 0;
  threads = int(shape.threads);
  message_.clear();
  order_.state = shape.seed * 0x9E3779B97F4A7C15ull + 1;
  std::copy(shape.grid, shape.grid + 3, grid);
  fibres_.resize(threads);
  warps_.resize((threads + LANES - 1) / LANES);
  priorities_.resize(warps_.size());
  if (checked_)
    checker_.begin_launch(reinterpret_cast<uintptr_t>(shared_), SHARED_BYTES, stacks_.start(), stacks_.bytes());
  bool done = true;
  for (uint32_t block = 0; done && block < grid[0] * grid[1] * grid[2]; ++block) {
    index[0] = block % grid[0];
    index[1] = block / grid[0] % grid[1];
    index[2] = block / grid[0] / grid[1];
    begin_block();
    if (checked_) checker_.begin_block(block, threads);
    done = run_block();
  }
  current = nullptr;
  noting = false;
  if (!done) {
    stacks_.reclaim();
    message = message_;
  }
  return done;
}

void Machine::begin_block() {
  for (int i = 0; i < threads; ++i) {
    Fibre& fibre = fibres_[i];
    static_cast<Thread&>(fibre) = {i, this};
    fibre.state = State::Fresh;
    fibre.copies.clear();
    fibre.groups = 0;
    fibre.stores = {};
    fibre.products = {};
  }
  for (size_t i = 0; i < warps_.size(); ++i) {
    const int first = int(i) * LANES, lanes = std::min(LANES, threads - first);
    warps_[i] = {first, lanes, lanes, 0, lanes, nullptr};
    priorities_[i] = int(i);
  }
  redraw_priorities();
  for (NamedBarrier& barrier : named_) barrier = {};
  mbarriers_.begin_block();
  alive_ = threads;
  at_block_ = 0;
  poison(shared_, dynamic_bytes_);
  shared_used_ = (dynamic_bytes_ + 127) / 128 * 128;
  arrays_.clear();
}

// Runs the warp that comes first in the order and can run, until it blocks: the schedule that finds most missing
// barriers.
bool Machine::run_block() {
  while (alive_ > 0) {
    auto next = std::find_if(priorities_.begin(), priorities_.end(),
                             [&](int warp) { return warps_[warp].runnable > 0; });
    if (next == priorities_.end()) {
      message_ = deadlock();
      return false;
    }
    Warp& warp = warps_[*next];
    const int start = order_.below(2) ? 0 : warp.lanes - 1;
    for (int i = 0; i < warp.lanes && warp.runnable > 0; ++i) {
      Fibre& fibre = fibres_[warp.first + std::abs(start - i)];
      if (fibre.state == State::Fresh || fibre.state == State::Ready) run(fibre);
      if (!message_.empty()) return false;
    }
  }
  if (mbarriers_.has_loads()) message_ = place() + ": copies of tiles were never waited for";
  return message_.empty();
}

void Machine::run(Fibre& fibre) {
  if (fibre.state == State::Fresh) {
    fibre.stack = stacks_.take(enter_kernel);
    fibre.stack_top = static_cast<char*>(fibre.stack) + 8 * sizeof(void*);
    fibre.state = State::Ready;
  }
  current = &fibre;
  noting = checked_;
  sargent_switch_fibre(&scheduler_, fibre.stack);
  if (fibre.state == State::Finished) stacks_.give_back(fibre.stack_top);
}

// The first function on a fibre's stack.
void Machine::enter() {
  Fibre& fibre = self();
  kernel_(parameters_);
  expect_nothing_under_way(fibre);
  Warp& warp = warp_of(fibre);
  fibre.state = State::Finished;
  --warp.alive, --warp.runnable, --alive_;
  if (warp.come > 0 && warp.come == warp.alive) {
    fail("a lane has left the kernel while the others of its warp wait for it at %s",
         fibres_[warp.first].word ? fibres_[warp.first].word : "a rendezvous");
  }
  if (at_block_ > 0 && at_block_ == alive_) release_block();
  void* nowhere;
  sargent_switch_fibre(&nowhere, scheduler_);
  abort();
}

void Machine::expect_nothing_under_way(const Fibre& fibre) {
  auto never = [&](const char* what, const Where& where) {
    fail("%s never waited for, the first at %s:%d", what, where.file, where.line);
  };
  if (!fibre.copies.empty()) never("asynchronous copies were", fibre.copies.front().where);
  if (!fibre.stores.under_way.empty()) never("stores of tiles were", fibre.stores.under_way.front().where);
  if (!fibre.products.under_way.empty()) never("products were", fibre.products.under_way.front().where);
}

void Machine::yield(State state, Where where, const char* word) {
  Fibre& fibre = self();
  fibre.state = state;
  fibre.where = where;
  fibre.word = word;
  --warp_of(fibre).runnable;
  sargent_switch_fibre(&fibre.stack, scheduler_);
}

// The running thread was never taken from those that can run.
void Machine::make_ready(Fibre& fibre) {
  fibre.state = State::Ready;
  if (&fibre != current) ++warp_of(fibre).runnable;
}

void Machine::redraw_priorities() {
  for (size_t i = priorities_.size(); i > 1; --i)
    std::swap(priorities_[i - 1], priorities_[order_.below(uint32_t(i))]);
}

void Machine::block_barrier(Where where) {
  self().state = State::AtBlock;
  if (++at_block_ == alive_) {
    release_block();
    return redraw_priorities();
  }
  yield(State::AtBlock, where, "block::sync");
}

// All threads that have not left the kernel have come.
void Machine::release_block() {
  at_block_ = 0;
  std::vector<int> come;
  for (Fibre& fibre : fibres_) {
    if (fibre.state != State::AtBlock) continue;
    come.push_back(fibre.index);
    make_ready(fibre);
  }
  if (checked_) checker_.clocks().meet(come);
}

void Machine::named_barrier(int id, int threads, bool waits, Where where) {
  if (id < 0 || id >= NAMED_BARRIERS) fail("there is no named barrier %d", id);
  NamedBarrier& barrier = named_[id];
  if (checked_) {
    Clocks& clocks = checker_.clocks();
    if (!barrier.told) barrier.told = std::make_unique<Knowledge>(clocks.nothing());
    clocks.tell(*barrier.told, current->index);
  }
  if (++barrier.come < threads) {
    if (waits) block_on(State::AtNamed, &barrier, where, "named_barrier::sync");
    return;
  }
  self().barrier = &barrier;
  if (waits) self().state = State::AtNamed;
  const std::unique_ptr<Knowledge> told = std::move(barrier.told);
  for (const Fibre& other : fibres_)
    if (told && other.state == State::AtNamed && other.barrier == &barrier)
      checker_.clocks().learn(other.index, *told);
  barrier = {};
  wake(State::AtNamed, &barrier);
  redraw_priorities();
}

void Machine::block_on(State state, const void* barrier, Where where, const char* word) {
  self().barrier = barrier;
  yield(state, where, word);
}

void Machine::wake(State state, const void* barrier) {
  for (Fibre& fibre : fibres_)
    if (fibre.state == state && fibre.barrier == barrier) make_ready(fibre);
}

bool Machine::anybody(State state, const void* barrier) const {
  return std::any_of(fibres_.begin(), fibres_.end(),
                     [&](const Fibre& fibre) { return fibre.state == state && fibre.barrier == barrier; });
}

void Machine::rendezvous(Operation operation, void* argument, bool orders_memory, const char* word, Where where) {
  Fibre& fibre = self();
  Warp& warp = warp_of(fibre);
  if (warp.come > 0 && warp.operation != operation) {
    fibre.where = where;
    fail("lanes of one warp have come to different words, one of them %s at %s:%d", word, where.file, where.line);
  }
  if (warp.alive < warp.lanes)
    fail("%s at %s:%d, but lanes of the warp have left the kernel", word, where.file, where.line);
  warp.operation = operation;
  fibre.argument = argument;
  if (++warp.come < warp.alive) return yield(State::AtWarp, where, word);
  warp.come = 0;
  void* arguments[LANES] = {};
  for (int lane = 0; lane < warp.lanes; ++lane) arguments[lane] = fibres_[warp.first + lane].argument;
  noting = false;
  operation(arguments);
  noting = checked_;
  if (checked_ && orders_memory) {
    std::vector<int> all(warp.lanes);
    std::iota(all.begin(), all.end(), warp.first);
    checker_.clocks().meet(all);
  }
  for (int lane = 0; lane < warp.lanes; ++lane) {
    Fibre& other = fibres_[warp.first + lane];
    if (other.state == State::AtWarp) make_ready(other);
  }
}

void* Machine::shared_array(const void* key, const char* name, size_t bytes, size_t alignment) {
  for (const SharedArray& array : arrays_)
    if (array.key == key) return shared_ + array.offset;
  const size_t offset = (shared_used_ + alignment - 1) / alignment * alignment;
  if (offset + bytes > SHARED_BYTES) fail("the kernel needs more than %zu bytes of shared memory", SHARED_BYTES);
  poison(shared_ + offset, bytes);
  arrays_.push_back({key, name, offset, bytes});
  shared_used_ = offset + bytes;
  return shared_ + offset;
}

}  // namespace emulator
