#include "poison.h"
#include "api.h"
#include "machine.h"
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
#include <mutex>

namespace {

constexpr size_t PAGE = 4096;
constexpr size_t ALIGNMENT = 256;

size_t to_pages(size_t bytes) { return (bytes + PAGE - 1) / PAGE * PAGE; }

size_t aligned(size_t bytes) { return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; }

struct sigaction earlier_segv, earlier_bus;

// Names what ran, if a kernel did; else the fault is somebody else's.
void on_fault(int signal, siginfo_t* info, void*) {
  if (!emulator::current) {
    sigaction(signal, signal == SIGSEGV ? &earlier_segv : &earlier_bus, nullptr);
    return;
  }
  char text[512], line[1024];
  emulator::describe_current(text, sizeof text);
  const int length = snprintf(line, sizeof line, "emulator: access to memory that is not there (%p) in %s\n",
                              info->si_addr, text);
  if (write(STDERR_FILENO, line, size_t(length))) _exit(139);
  _exit(139);
}

}  // namespace

void emulator::catch_faults() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &action, &earlier_segv);
    sigaction(SIGBUS, &action, &earlier_bus);
  });
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
  return start + pages - aligned(bytes);
}

void sargent_emulator_release(void* memory, size_t bytes) {
  const size_t pages = to_pages(aligned(bytes));
  char* start = static_cast<char*>(memory) + aligned(bytes) - pages;
  munmap(start - PAGE, pages + 2 * PAGE);
}
