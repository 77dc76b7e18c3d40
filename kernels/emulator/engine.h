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

struct Warp;

struct Fibre : Thread {
  Warp* warp;
  State state;
  void* stack;      // where it goes on
  void* stack_top;  // to give back
  const void* barrier;  // that it waits at
  const char* word;
  Where where;
  std::vector<Copy> copies;
  uint32_t groups;  // committed
  Stores stores;
  TileProducts products;
};

// Sets of lanes have a bit for each.
struct Warp {
  int first, lanes;
  int alive;          // lanes that have not finished
  uint32_t runnable;  // lanes that can run, but for the one that runs
  uint32_t come;      // lanes at the rendezvous
  uint32_t at_block;  // lanes at the block's barrier
  bool backwards;     // whether the last lane that can run is the first to do so
  int rank;           // in the order of warps
  Operation operation;
  void* arguments[LANES];  // of the lanes at the rendezvous, null for lanes that the warp does not have

  uint32_t all() const { return lanes == LANES ? ~0u : (1u << lanes) - 1; }
};

inline uint32_t lane_bit(const Fibre& fibre) { return 1u << (fibre.index % LANES); }

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
  Fibre* next();
  void switch_to(void** from, Fibre* to);
  void finish(Fibre& fibre);
  void expect_nothing_under_way(const Fibre& fibre);
  void yield(State state, Where where, const char* word);
  void make_ready(Fibre& fibre);
  void release_block();
  void redraw_order();
  std::string deadlock() const;
  std::string place() const;

  const char* symbol_ = "";
  void (*kernel_)(const void*) = nullptr;
  const void* parameters_ = nullptr;
  uint32_t dynamic_bytes_ = 0;
  bool checked_ = false;
  std::vector<Fibre> fibres_;
  std::vector<Warp> warps_;
  std::vector<int> order_of_warps_;
  uint32_t runnable_ = 0;  // warps that can run, a bit for each place in the order
  Warp* turn_ = nullptr;   // the warp that runs
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

// The machine of this host thread, once it has launched something.
extern EMULATOR_THREAD Machine* this_machine;
inline Machine& machine() { return *this_machine; }

}  // namespace emulator
