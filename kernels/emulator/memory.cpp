#include "poison.h"
#include "api.h"
#include "machine.h"
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <map>
#include <mutex>
#include <vector>

namespace {

constexpr size_t PAGE = 4096;
constexpr size_t ALIGNMENT = 256;

size_t to_pages(size_t bytes) { return (bytes + PAGE - 1) / PAGE * PAGE; }

size_t aligned(size_t bytes) { return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; }

// Sizes of buffers by their starts.
std::mutex buffers_lock;
std::map<uintptr_t, size_t> buffers;

struct sigaction earlier_segv, earlier_bus;

__thread uintptr_t fault_address;

// Where a fibre goes on after a fault: its launch ends with a message.
[[noreturn]] void after_fault() { emulator::fail_at(fault_address); }

// If a kernel ran, its fibre goes on in `after_fault`, at the top of its stack, since it may have had too little of it;
// else the fault is somebody else's.
void on_fault(int signal, siginfo_t* info, void* context) {
  if (!emulator::current) {
    sigaction(signal, signal == SIGSEGV ? &earlier_segv : &earlier_bus, nullptr);
    return;
  }
  fault_address = reinterpret_cast<uintptr_t>(info->si_addr);
  greg_t* registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  registers[REG_RIP] = reinterpret_cast<greg_t>(&after_fault);
  registers[REG_RSP] = reinterpret_cast<greg_t>(emulator::top_of_stack()) / 16 * 16 - 8;
}

// A stack for handlers, where the host thread has none: that of a fibre may be what ran out.
void provide_handler_stack() {
  static thread_local char stack[32 << 10];
  stack_t present = {};
  sigaltstack(nullptr, &present);
  if (!(present.ss_flags & SS_DISABLE)) return;
  present.ss_sp = stack;
  present.ss_size = sizeof stack;
  present.ss_flags = 0;
  sigaltstack(&present, nullptr);
}

}  // namespace

void emulator::catch_faults() {
  provide_handler_stack();
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &action, &earlier_segv);
    sigaction(SIGBUS, &action, &earlier_bus);
  });
  // The handler must not run on a stack that has run out.
  static thread_local std::vector<char> own;
  stack_t stack;
  if (!own.empty() || sigaltstack(nullptr, &stack) != 0 || !(stack.ss_flags & SS_DISABLE)) return;
  own.resize(64 << 10);
  stack = {};
  stack.ss_sp = own.data();
  stack.ss_size = own.size();
  sigaltstack(&stack, nullptr);
}

// The end touches the guard page behind it, as far as the alignment allows: most mistakes run over the end.
void* sargent_emulator_allocate(size_t bytes) {
  const size_t pages = to_pages(aligned(bytes));
  void* region = mmap(nullptr, pages + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (region == MAP_FAILED) return nullptr;
  char* start = static_cast<char*>(region) + PAGE;
  if (mprotect(start, pages, PROT_READ | PROT_WRITE) != 0) {
    munmap(region, pages + 2 * PAGE);
    return nullptr;
  }
  emulator::poison(start, pages);
  void* memory = start + pages - aligned(bytes);
  const std::lock_guard<std::mutex> guard(buffers_lock);
  buffers[reinterpret_cast<uintptr_t>(memory)] = bytes;
  return memory;
}

void sargent_emulator_release(void* memory, size_t bytes) {
  const size_t pages = to_pages(aligned(bytes));
  char* start = static_cast<char*>(memory) + aligned(bytes) - pages;
  {
    const std::lock_guard<std::mutex> guard(buffers_lock);
    buffers.erase(reinterpret_cast<uintptr_t>(memory));
  }
  munmap(start - PAGE, pages + 2 * PAGE);
}

bool emulator::find_buffer(uintptr_t address, uintptr_t& start, size_t& bytes) {
  const std::lock_guard<std::mutex> guard(buffers_lock);
  auto next = buffers.upper_bound(address);
  // The nearest is the one before, unless the address lies just before the next.
  if (next == buffers.begin() || (next != buffers.end() && next->first - address <= PAGE)) {
    if (next == buffers.end()) return false;
  } else {
    --next;
  }
  start = next->first;
  bytes = next->second;
  return true;
}
