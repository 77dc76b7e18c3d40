// The machine from inside: a block's fibres, what they wait for, and who runs next.
#pragma once
#include "machine.h"
#include "api.h"
#include "checker.h"
#include "fibre.h"
#include "mbarriers.h"
#include "poison.h"
#include "tensor_cores.h"
#include "tiles.h"
#include <memory>
#include <string>
#include <vector>

namespace emulator {

constexpr int LANES = 32;
constexpr int NAMED_BARRIERS = 16;
constexpr size_t SHARED_BYTES = 228 << 10;
constexpr size_t SHARED_ALIGNMENT = 1024;

enum class State { Fresh, Ready, AtWarp, AtBlock, AtNamed, AtMbarrier, Finished };

// What a thread waits for is one of these.
inline bool waits(State state) { return state != State::Fresh && state != State::Ready && state != State::Finished; }

struct Copy {
  void* to;
  const void* from;
  int bytes;
  bool there;
  uint32_t group;
  Where where;
};

struct Fibre : Thread {
  State state;
  void* stack;      // where it goes on
  void* stack_top;  // to give back
  void* argument;   // of the warp operation that it waits for
  const void* barrier;  // that it waits at
  const char* word;
  Where where;
  std::vector<Copy> copies;
  uint32_t groups;  // committed
  Stores stores;
  TileProducts products;
};

struct Warp {
  int first, lanes;
  int alive;     // lanes that have not finished
  int come;      // lanes at the rendezvous
  int runnable;  // lanes that can run
  Operation operation;
};

struct NamedBarrier {
  int come = 0;
  std::unique_ptr<Knowledge> told;  // what those who came knew
};

struct SharedArray {
  const void* key;
  const char* name;
  size_t offset, bytes;
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
  Machine();

  bool launch(const char* symbol, void (*kernel)(const void*), const sargent_emulator_launch_shape& shape,
              const void* parameters, std::string& message);

  Fibre& self() { return *static_cast<Fibre*>(current); }
  Warp& warp_of(const Fibre& fibre) { return warps_[fibre.index / LANES]; }
  const char* kernel() const { return symbol_; }
  Checker& checker() { return checker_; }
  bool checked() const { return checked_; }

  Mbarriers& mbarriers() { return mbarriers_; }

  void block_barrier(Where where);
  void named_barrier(int id, int threads, bool waits, Where where);
  void rendezvous(Operation operation, void* argument, bool orders_memory, const char* word, Where where);

  // Waiting for something at `barrier`, until somebody wakes all who wait there.
  void block_on(State state, const void* barrier, Where where, const char* word);
  void wake(State state, const void* barrier);
  bool anybody(State state, const void* barrier) const;

  void* shared_array(const void* key, const char* name, size_t bytes, size_t alignment);
  unsigned char* dynamic() { return shared_; }
  bool is_shared(const void* address) const { return address >= shared_ && address < shared_ + SHARED_BYTES; }
  bool is_stack(uintptr_t address) const { return address - stacks_.start() < stacks_.bytes(); }
  uint32_t shared_address(const void* address) const {
    return uint32_t(static_cast<const unsigned char*>(address) - shared_ + SHARED_ALIGNMENT);
  }
  // Back from there; null outside.
  const void* shared_at(uint32_t address) const {
    return address - SHARED_ALIGNMENT < SHARED_BYTES ? shared_ + (address - SHARED_ALIGNMENT) : nullptr;
  }
  // Of the launch's loads and stores of matrices: cycles beyond those that they would take without.
  uint64_t bank_conflicts = 0;

  // What lies at an address, for people.
  std::string describe(uintptr_t address) const;

  // Ends the launch with a message; called on a fibre.
  [[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 2, 3)));
  void enter();

 private:
  void begin_block();
  bool run_block();
  void run(Fibre& fibre);
  void expect_nothing_under_way(const Fibre& fibre);
  void yield(State state, Where where, const char* word);
  void make_ready(Fibre& fibre);
  void release_block();
  void redraw_priorities();
  std::string deadlock() const;
  std::string place() const;

  const char* symbol_ = "";
  void (*kernel_)(const void*) = nullptr;
  const void* parameters_ = nullptr;
  uint32_t dynamic_bytes_ = 0;
  bool checked_ = false;
  std::vector<Fibre> fibres_;
  std::vector<Warp> warps_;
  std::vector<int> priorities_;
  NamedBarrier named_[NAMED_BARRIERS];
  int alive_ = 0, at_block_ = 0;
  Order order_{};
  Stacks stacks_;
  void* scheduler_ = nullptr;
  std::vector<unsigned char> memory_;
  unsigned char* shared_ = nullptr;
  size_t shared_used_ = 0;
  std::vector<SharedArray> arrays_;
  std::string message_;
  Mbarriers mbarriers_;
  Checker checker_;
};

// The place of sixteen bytes of shared memory under a tensor map's swizzle (0 to 3: none, 32, 64, 128 bytes).
uint32_t swizzled(uint32_t address, uint32_t swizzle);

// The calling host thread's.
Machine& machine();

}  // namespace emulator
