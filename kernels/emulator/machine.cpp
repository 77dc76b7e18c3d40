#include "engine.h"
#include <stdlib.h>
#include <algorithm>
#include <numeric>

namespace emulator {

EMULATOR_THREAD Thread* current = nullptr;
EMULATOR_THREAD Machine* this_machine = nullptr;

namespace {

void enter_kernel() { machine().enter(); }

}  // namespace

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
  order_of_warps_.resize(warps_.size());
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
  for (size_t i = 0; i < warps_.size(); ++i) {
    Warp& warp = warps_[i] = {};
    warp.first = int(i) * LANES;
    warp.lanes = warp.alive = std::min(LANES, threads - warp.first);
    warp.runnable = warp.all();
    order_of_warps_[i] = int(i);
  }
  for (int i = 0; i < threads; ++i) {
    Fibre& fibre = fibres_[i];
    static_cast<Thread&>(fibre) = {i, this};
    fibre.warp = &warps_[i / LANES];
    fibre.state = State::Fresh;
    fibre.copies.clear();
    fibre.groups = 0;
    fibre.stores = {};
    fibre.products = {};
  }
  redraw_order();
  turn_ = &warps_[order_of_warps_[0]];
  for (NamedBarrier& barrier : named_) barrier = {};
  mbarriers_.begin_block();
  alive_ = threads;
  at_block_ = 0;
  poison(shared_, dynamic_bytes_);
  shared_used_ = (dynamic_bytes_ + 127) / 128 * 128;
  arrays_.clear();
}

bool Machine::run_block() {
  noting = checked_;
  switch_to(&scheduler_, next());
  if (message_.empty() && alive_ > 0) message_ = deadlock();
  if (message_.empty() && mbarriers_.has_loads()) message_ = place() + ": copies of tiles were never waited for";
  return message_.empty();
}

// The fibre that runs next: a lane of the warp whose turn it is, until all of it blocks, then of the first warp in the
// order that can run. This is the schedule that finds most missing barriers. Null if none can run.
Fibre* Machine::next() {
  if (!turn_->runnable) {
    if (!runnable_) return nullptr;
    turn_ = &warps_[order_of_warps_[__builtin_ctz(runnable_)]];
    turn_->backwards = order_.below(2);
  }
  const uint32_t lanes = turn_->runnable;
  const int lane = turn_->backwards ? 31 - __builtin_clz(lanes) : __builtin_ctz(lanes);
  turn_->runnable = lanes & ~(1u << lane);
  if (!turn_->runnable) runnable_ &= ~(1u << turn_->rank);
  return &fibres_[turn_->first + lane];
}

// Goes on with `to`, or with the launch if nobody can run.
void Machine::switch_to(void** from, Fibre* to) {
  if (!to) return sargent_switch_fibre(from, scheduler_);
  if (to->state == State::Fresh) {
    to->stack = stacks_.take(enter_kernel);
    to->stack_top = static_cast<char*>(to->stack) + 8 * sizeof(void*);
  }
  to->state = State::Ready;
  current = to;
  sargent_switch_fibre(from, to->stack);
}

// The first function on a fibre's stack. A thread that never blocks leaves its stack to the next one, so that a kernel
// without barriers runs as a loop.
void Machine::enter() {
  for (;;) {
    Fibre& fibre = self();
    kernel_(parameters_);
    finish(fibre);
    Fibre* follower = next();
    if (!follower || follower->state != State::Fresh) {
      stacks_.give_back(fibre.stack_top);
      void* nowhere;
      switch_to(&nowhere, follower);
      abort();
    }
    follower->state = State::Ready;
    follower->stack_top = fibre.stack_top;
    current = follower;
  }
}

void Machine::finish(Fibre& fibre) {
  expect_nothing_under_way(fibre);
  Warp& warp = *fibre.warp;
  fibre.state = State::Finished;
  --warp.alive, --alive_;
  if (warp.come && __builtin_popcount(warp.come) == warp.alive) {
    fail("a lane has left the kernel while the others of its warp wait for it at %s",
         fibres_[warp.first + __builtin_ctz(warp.come)].word);
  }
  if (at_block_ > 0 && at_block_ == alive_) release_block();
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
  switch_to(&fibre.stack, next());
}

void Machine::make_ready(Fibre& fibre) {
  fibre.state = State::Ready;
  if (&fibre == current) return;
  fibre.warp->runnable |= lane_bit(fibre);
  runnable_ |= 1u << fibre.warp->rank;
}

void Machine::redraw_order() {
  for (size_t i = order_of_warps_.size(); i > 1; --i)
    std::swap(order_of_warps_[i - 1], order_of_warps_[order_.below(uint32_t(i))]);
  runnable_ = 0;
  for (size_t i = 0; i < order_of_warps_.size(); ++i) {
    Warp& warp = warps_[order_of_warps_[i]];
    warp.rank = int(i);
    if (warp.runnable) runnable_ |= 1u << i;
  }
}

void Machine::block_barrier(Where where) {
  const Fibre& fibre = self();
  fibre.warp->at_block |= lane_bit(fibre);
  if (++at_block_ < alive_) return yield(State::AtBlock, where, "block::sync");
  release_block();
  fibre.warp->runnable &= ~lane_bit(fibre);
  redraw_order();
}

// All threads that have not left the kernel have come.
void Machine::release_block() {
  at_block_ = 0;
  std::vector<int> come;
  for (Warp& warp : warps_) {
    if (checked_)
      for (uint32_t lanes = warp.at_block; lanes; lanes &= lanes - 1)
        come.push_back(warp.first + __builtin_ctz(lanes));
    warp.runnable |= warp.at_block;
    if (warp.runnable) runnable_ |= 1u << warp.rank;
    warp.at_block = 0;
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
  redraw_order();
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
  const Fibre& fibre = self();
  Warp& warp = *fibre.warp;
  if (warp.come && warp.operation != operation) {
    const Fibre& other = fibres_[warp.first + __builtin_ctz(warp.come)];
    fail("lanes of one warp have come to different words, %s at %s:%d and %s at %s:%d", word, where.file, where.line,
         other.word, other.where.file, other.where.line);
  }
  if (warp.alive < warp.lanes)
    fail("%s at %s:%d, but lanes of the warp have left the kernel", word, where.file, where.line);
  warp.operation = operation;
  warp.arguments[fibre.index % LANES] = argument;
  warp.come |= lane_bit(fibre);
  if (warp.come != warp.all()) return yield(State::AtWarp, where, word);
  noting = false;
  operation(warp.arguments);
  noting = checked_;
  if (checked_ && orders_memory) {
    std::vector<int> all(warp.lanes);
    std::iota(all.begin(), all.end(), warp.first);
    checker_.clocks().meet(all);
  }
  warp.come = 0;
  warp.runnable = warp.all() & ~lane_bit(fibre);
  if (warp.runnable) runnable_ |= 1u << warp.rank;
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
