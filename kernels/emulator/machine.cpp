#include "machine.h"
#include "api.h"
#include "fibre.h"
#include "poison.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <algorithm>
#include <string>
#include <vector>

namespace emulator {

EMULATOR_THREAD Thread* current = nullptr;

namespace {

constexpr int LANES = 32;
constexpr int NAMED_BARRIERS = 16;
constexpr size_t SHARED_BYTES = 228 << 10;
constexpr size_t SHARED_ALIGNMENT = 1024;

enum class State { Fresh, Ready, AtWarp, AtBlock, AtNamed, Finished };

const char* text(State state) {
  switch (state) {
    case State::Fresh: return "has not begun";
    case State::Ready: return "can go on";
    case State::AtWarp: return "waits for its warp";
    case State::AtBlock: return "waits at block::sync";
    case State::AtNamed: return "waits at a named barrier";
    case State::Finished: return "has finished";
  }
  return "";
}

struct Copy {
  void* to;
  const void* from;
  int bytes;
  bool there;
  uint32_t group;
};

struct Warp;

struct Fibre : Thread {
  Warp* warp;
  State state;
  void* stack;      // where it goes on
  void* stack_top;  // to give back
  int barrier;      // named, that it waits at
  const char* word;
  Where where;
  std::vector<Copy> copies;
  uint32_t groups;  // committed
};

struct Warp {
  int first, lanes;
  int alive;          // lanes that have not finished
  uint32_t runnable;  // lanes that can run, a bit each
  uint32_t come;      // lanes at the rendezvous
  uint32_t at_block;  // lanes at the block's barrier
  bool backwards;     // whether the last lane that can run is the first to do so
  int rank;           // in the order of warps
  Operation operation;
  void* arguments[LANES];  // of the lanes at the rendezvous, null for lanes that the warp does not have

  uint32_t all() const { return lanes == LANES ? ~0u : (1u << lanes) - 1; }
};

struct Barrier {
  int come;
};

struct SharedArray {
  const void* key;
  size_t offset;
};

// A small generator for orders; its quality does not matter.
struct Order {
  uint64_t state;
  uint32_t below(uint32_t bound) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return uint32_t((state >> 33) % bound);
  }
};

class Machine : public Block {
 public:
  Machine() {
    memory_.resize(SHARED_BYTES + SHARED_ALIGNMENT);
    const uintptr_t start = reinterpret_cast<uintptr_t>(memory_.data());
    shared_ = reinterpret_cast<unsigned char*>((start + SHARED_ALIGNMENT - 1) / SHARED_ALIGNMENT * SHARED_ALIGNMENT);
  }

  bool launch(const sargent_emulator_entry& entry, const sargent_emulator_launch_shape& shape, const void* parameters,
              std::string& message);

  Fibre& self() { return *static_cast<Fibre*>(current); }

  void block_barrier(Where where);
  void named_barrier(int id, int threads, bool waits, Where where);
  void rendezvous(Operation operation, void* argument, const char* word, Where where);
  void* shared_array(const void* key, size_t bytes, size_t alignment);
  unsigned char* dynamic() { return shared_; }
  bool is_shared(const void* address) const {
    return address >= shared_ && address < shared_ + SHARED_BYTES;
  }
  uint32_t shared_address(const void* address) const {
    return uint32_t(static_cast<const unsigned char*>(address) - shared_ + SHARED_ALIGNMENT);
  }

  [[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 2, 3)));
  const char* kernel() const { return entry_ ? entry_->symbol : ""; }
  void enter();

 private:
  void begin_block();
  bool run_block();
  Fibre* next();
  void finish(Fibre& fibre);
  void switch_to(void** from, Fibre* to);
  void yield(State state, Where where, const char* word);
  void make_ready(Fibre& fibre);
  void open_block_barrier();
  void redraw_order();
  std::string deadlock();

  const sargent_emulator_entry* entry_ = nullptr;
  const void* parameters_ = nullptr;
  uint32_t dynamic_bytes_ = 0;
  std::vector<Fibre> fibres_;
  std::vector<Warp> warps_;
  std::vector<int> order_of_warps_;
  uint32_t runnable_ = 0;  // warps that can run, a bit for each place in the order
  Warp* turn_ = nullptr;   // the warp that runs
  Barrier named_[NAMED_BARRIERS];
  int alive_ = 0, at_block_ = 0;
  Order order_{};
  Stacks stacks_;
  void* scheduler_ = nullptr;
  std::vector<unsigned char> memory_;
  unsigned char* shared_ = nullptr;
  size_t shared_used_ = 0;
  std::vector<SharedArray> arrays_;
  std::string message_;
};

// The machine of this host thread, once it has launched something.
EMULATOR_THREAD Machine* this_machine = nullptr;

Machine& machine() { return *this_machine; }

void enter_kernel() { machine().enter(); }

bool Machine::launch(const sargent_emulator_entry& entry, const sargent_emulator_launch_shape& shape,
                     const void* parameters, std::string& message) {
  entry_ = &entry;
  parameters_ = parameters;
  dynamic_bytes_ = shape.shared_bytes;
  threads = int(shape.threads);
  message_.clear();
  order_.state = shape.seed * 0x9E3779B97F4A7C15ull + 1;
  std::copy(shape.grid, shape.grid + 3, grid);
  fibres_.resize(threads);
  warps_.resize((threads + LANES - 1) / LANES);
  order_of_warps_.resize(warps_.size());
  bool done = true;
  for (index[2] = 0; done && index[2] < grid[2]; ++index[2])
    for (index[1] = 0; done && index[1] < grid[1]; ++index[1])
      for (index[0] = 0; done && index[0] < grid[0];) {
        begin_block();
        done = run_block();
        if (done) ++index[0];
      }
  current = nullptr;
  entry_ = nullptr;
  if (!done) {
    stacks_.reclaim();
    message = message_;
  }
  return done;
}

void Machine::begin_block() {
  for (size_t i = 0; i < warps_.size(); ++i) {
    Warp& warp = warps_[i];
    const int first = int(i) * LANES, lanes = std::min(LANES, threads - first);
    warp = {};
    warp.first = first, warp.lanes = warp.alive = lanes;
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
  }
  redraw_order();
  turn_ = &warps_[order_of_warps_[0]];
  std::fill(named_, named_ + NAMED_BARRIERS, Barrier{0});
  alive_ = threads;
  at_block_ = 0;
  poison(shared_, dynamic_bytes_);
  shared_used_ = (dynamic_bytes_ + 127) / 128 * 128;
  arrays_.clear();
}

bool Machine::run_block() {
  switch_to(&scheduler_, next());
  if (alive_ > 0 && message_.empty()) message_ = deadlock();
  return message_.empty();
}

// The fibre that runs next: a lane of the warp that runs, until all of it blocks, then of the first warp in the order
// that can run. This is the schedule that finds most missing barriers. Null if none can run.
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
    entry_->kernel(parameters_);
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
  if (!fibre.copies.empty()) fail("asynchronous copies were never waited for");
  Warp& warp = *fibre.warp;
  fibre.state = State::Finished;
  --warp.alive, --alive_;
  if (warp.come && __builtin_popcount(warp.come) == warp.alive) {
    fail("a lane has left the kernel while the others of its warp wait for it at %s",
         fibres_[warp.first + __builtin_ctz(warp.come)].word);
  }
  if (at_block_ > 0 && at_block_ == alive_) open_block_barrier();
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
  fibre.warp->runnable |= 1u << (fibre.index % LANES);
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
  if (++at_block_ == alive_) return open_block_barrier();
  const Fibre& fibre = self();
  fibre.warp->at_block |= 1u << (fibre.index % LANES);
  yield(State::AtBlock, where, "block::sync");
}

void Machine::open_block_barrier() {
  at_block_ = 0;
  for (Warp& warp : warps_) {
    warp.runnable |= warp.at_block;
    warp.at_block = 0;
  }
  redraw_order();
}

void Machine::named_barrier(int id, int threads, bool waits, Where where) {
  if (id < 0 || id >= NAMED_BARRIERS) fail("there is no named barrier %d", id);
  Barrier& barrier = named_[id];
  if (++barrier.come < threads) {
    if (!waits) return;
    self().barrier = id;
    return yield(State::AtNamed, where, "named_barrier::sync");
  }
  barrier.come = 0;
  for (Fibre& fibre : fibres_)
    if (fibre.state == State::AtNamed && fibre.barrier == id) make_ready(fibre);
  redraw_order();
}

void Machine::rendezvous(Operation operation, void* argument, const char* word, Where where) {
  Fibre& fibre = self();
  Warp& warp = *fibre.warp;
  if (warp.come && warp.operation != operation) {
    const Fibre& other = fibres_[warp.first + __builtin_ctz(warp.come)];
    fail("lanes of one warp have come to different words, %s at %s:%d and %s at %s:%d", word, where.file, where.line,
         other.word, other.where.file, other.where.line);
  }
  if (warp.alive < warp.lanes) fail("%s at %s:%d, but lanes of the warp have left the kernel", word, where.file, where.line);
  const int lane = fibre.index % LANES;
  warp.operation = operation;
  warp.arguments[lane] = argument;
  warp.come |= 1u << lane;
  if (warp.come != warp.all()) return yield(State::AtWarp, where, word);
  operation(warp.arguments);
  warp.come = 0;
  warp.runnable = warp.all() & ~(1u << lane);
  if (warp.runnable) runnable_ |= 1u << warp.rank;
}

void* Machine::shared_array(const void* key, size_t bytes, size_t alignment) {
  for (const SharedArray& array : arrays_)
    if (array.key == key) return shared_ + array.offset;
  const size_t offset = (shared_used_ + alignment - 1) / alignment * alignment;
  if (offset + bytes > SHARED_BYTES) fail("the kernel needs more than %zu bytes of shared memory", SHARED_BYTES);
  poison(shared_ + offset, bytes);
  arrays_.push_back({key, offset});
  shared_used_ = offset + bytes;
  return shared_ + offset;
}

// Every warp: where its lanes are.
std::string Machine::deadlock() {
  std::string text = "deadlock in " + std::string(kernel()) + ", block " + std::to_string(index[0]) + "," +
                     std::to_string(index[1]) + "," + std::to_string(index[2]);
  for (const Warp& warp : warps_) {
    for (int lane = 0; lane < warp.lanes;) {
      const Fibre& fibre = fibres_[warp.first + lane];
      int end = lane + 1;
      auto same = [&](const Fibre& other) {
        return other.state == fibre.state && (fibre.state == State::Finished || other.where.line == fibre.where.line);
      };
      while (end < warp.lanes && same(fibres_[warp.first + end])) ++end;
      char line[512];
      const bool waits = fibre.state >= State::AtWarp && fibre.state <= State::AtNamed;
      snprintf(line, sizeof line, "\n  warp %d lanes %d-%d: %s%s%s%s:%d", int(&warp - warps_.data()), lane, end - 1,
               emulator::text(fibre.state), waits ? " in " : "", waits ? fibre.word : "",
               waits ? fibre.where.file : "", waits ? fibre.where.line : 0);
      text += line;
      lane = end;
    }
  }
  return text;
}

void Machine::fail(const char* format, ...) {
  char what[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(what, sizeof what, format, arguments);
  va_end(arguments);
  message_ = std::string(kernel()) + ", block " + std::to_string(index[0]) + "," + std::to_string(index[1]) + "," +
             std::to_string(index[2]) + ", thread " + std::to_string(current->index) + ": " + what;
  void* nowhere;
  sargent_switch_fibre(&nowhere, scheduler_);
  abort();
}

// The reason that lanes wait together, where nothing has to be done.
void nothing(void* const*) {}

}  // namespace

void too_many_threads(int threads) {
  machine().fail("%d threads a block, the kernel takes at most %d", machine().threads, threads);
}

unsigned char* dynamic_shared() { return machine().dynamic(); }

void* shared_array(const void* key, size_t bytes, size_t alignment) {
  return machine().shared_array(key, bytes, alignment);
}

uint32_t shared_address(const void* shared) { return machine().shared_address(shared); }

void block_barrier(Where where) { machine().block_barrier(where); }

void named_barrier(int id, int threads, bool waits, Where where) {
  machine().named_barrier(id, threads, waits, where);
}

void warp_barrier(Where where) { machine().rendezvous(nothing, nullptr, "warp::sync", where); }

void warp_operation(Operation operation, void* argument, const char* word, Where where) {
  machine().rendezvous(operation, argument, word, where);
}

void copy_async(void* to, const void* from, int bytes, bool there, Where where) {
  Machine& machine = emulator::machine();
  if (!machine.is_shared(to)) machine.fail("cp_async to no shared memory at %s:%d", where.file, where.line);
  if (reinterpret_cast<uintptr_t>(to) % bytes || (there && reinterpret_cast<uintptr_t>(from) % bytes))
    machine.fail("cp_async of %d bytes at a misaligned address at %s:%d", bytes, where.file, where.line);
  poison(to, bytes);
  Fibre& fibre = machine.self();
  fibre.copies.push_back({to, from, bytes, there, fibre.groups});
}

void commit_async() { ++machine().self().groups; }

void wait_async(int groups) {
  Fibre& fibre = machine().self();
  size_t landed = 0;
  while (landed < fibre.copies.size() && fibre.copies[landed].group + groups < fibre.groups) {
    const Copy& copy = fibre.copies[landed++];
    if (copy.there)
      memcpy(copy.to, copy.from, copy.bytes);
    else
      memset(copy.to, 0, copy.bytes);
  }
  fibre.copies.erase(fibre.copies.begin(), fibre.copies.begin() + landed);
}

void expect_aligned(const void* address, size_t alignment) {
  if (reinterpret_cast<uintptr_t>(address) % alignment)
    machine().fail("an access of %zu bytes at a misaligned address", alignment);
}

void expect_shared_aligned(const void* address, size_t alignment, Where where) {
  Machine& machine = emulator::machine();
  if (!machine.is_shared(address)) machine.fail("no address of shared memory at %s:%d", where.file, where.line);
  if (reinterpret_cast<uintptr_t>(address) % alignment)
    machine.fail("a misaligned address of shared memory at %s:%d", where.file, where.line);
}

void describe_current(char* text, size_t bytes) {
  const Machine& machine = emulator::machine();
  snprintf(text, bytes, "%s, block %u,%u,%u, thread %d", machine.kernel(), machine.index[0], machine.index[1],
           machine.index[2], current ? current->index : -1);
}

}  // namespace emulator

int sargent_emulator_launch(const char* symbol, const sargent_emulator_launch_shape* shape, const void* parameters,
                            char* message, size_t message_bytes) {
  emulator::catch_faults();
  const sargent_emulator_entry* entry = sargent_emulator_table;
  while (entry->symbol && strcmp(entry->symbol, symbol) != 0) ++entry;
  std::string problem = "there is no kernel " + std::string(symbol);
  static thread_local emulator::Machine machine;
  emulator::this_machine = &machine;
  if (entry->symbol && machine.launch(*entry, *shape, parameters, problem)) return 0;
  snprintf(message, message_bytes, "%s", problem.c_str());
  return 1;
}
