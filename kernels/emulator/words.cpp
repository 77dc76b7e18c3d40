// The words that touch the running block, and the launch of a kernel.
#include "engine.h"
#include <stdio.h>
#include <algorithm>
#include <atomic>

namespace emulator {

void too_many_threads(int threads) {
  machine().fail("%d threads a block, the kernel takes at most %d", machine().threads, threads);
}

unsigned char* dynamic_shared() { return machine().dynamic(); }

void* shared_array(const void* key, const char* name, size_t bytes, size_t alignment) {
  return machine().shared_array(key, name, bytes, alignment);
}

uint32_t shared_address(const void* shared) { return machine().shared_address(shared); }

void block_barrier(Where where) { machine().block_barrier(where); }

void named_barrier(int id, int threads, bool waits, Where where) {
  machine().named_barrier(id, threads, waits, where);
}

void warp_barrier(Where where) {
  machine().rendezvous(nothing, nullptr, true, "warp::sync", where);
}

void warp_operation(Operation operation, void* argument, const char* word, Where where) {
  machine().rendezvous(operation, argument, false, word, where);
}

void count_bank_conflicts(const void* const* rows) {
  int in_bank[8] = {}, most = 0;
  for (int i = 0; i < 8; ++i) {
    bool again = false;
    for (int j = 0; j < i; ++j) again = again || rows[j] == rows[i];
    if (!again) most = std::max(most, ++in_bank[reinterpret_cast<uintptr_t>(rows[i]) / 16 % 8]);
  }
  machine().bank_conflicts += uint64_t(most - 1);
}

void note_read(const void* address, size_t bytes, Where where) {
  Machine& machine = emulator::machine();
  if (machine.checked()) machine.checker().access(current->index, address, bytes, false, where);
}

void note_write(const void* address, size_t bytes, Where where) {
  Machine& machine = emulator::machine();
  if (machine.checked()) machine.checker().access(current->index, address, bytes, true, where);
}

// The destination is written twice, as the checker sees it: now, when others may no longer read it, and where the copy
// lands, when others may not read it yet.
void copy_async(void* to, const void* from, int bytes, bool there, Where where) {
  Machine& machine = emulator::machine();
  if (!machine.is_shared(to)) machine.fail("cp_async to no shared memory at %s:%d", where.file, where.line);
  if (reinterpret_cast<uintptr_t>(to) % bytes || (there && reinterpret_cast<uintptr_t>(from) % bytes))
    machine.fail("cp_async of %d bytes at a misaligned address at %s:%d", bytes, where.file, where.line);
  if (there) note_read(from, bytes, where);
  note_write(to, bytes, where);
  poison(to, bytes);
  Fibre& fibre = machine.self();
  fibre.copies.push_back({to, from, bytes, there, fibre.groups, where});
}

void commit_async() { ++machine().self().groups; }

void wait_async(int groups) {
  Fibre& fibre = machine().self();
  size_t landed = 0;
  while (landed < fibre.copies.size() && fibre.copies[landed].group + groups < fibre.groups) {
    const Copy& copy = fibre.copies[landed++];
    if (copy.there) {
      note_read(copy.from, copy.bytes, copy.where);
      memcpy(copy.to, copy.from, copy.bytes);
    } else {
      memset(copy.to, 0, copy.bytes);
    }
    note_write(copy.to, copy.bytes, copy.where);
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

}  // namespace emulator

namespace {

const sargent_emulator_entry nothing_overridden[] = {{nullptr, nullptr, nullptr}};
std::atomic<const sargent_emulator_entry*> overriding{nothing_overridden};

// Null if the table lacks it.
const sargent_emulator_entry* find(const sargent_emulator_entry* table, const char* symbol) {
  while (table->symbol && strcmp(table->symbol, symbol) != 0) ++table;
  return table->symbol ? table : nullptr;
}

}  // namespace

void sargent_emulator_override(const sargent_emulator_entry* table) { overriding = table; }

uint64_t sargent_emulator_bank_conflicts() {
  return emulator::this_machine ? emulator::this_machine->bank_conflicts : 0;
}

int sargent_emulator_launch(const char* symbol, const sargent_emulator_launch_shape* shape, const void* parameters,
                            char* message, size_t message_bytes) {
  emulator::catch_faults();
  static thread_local emulator::Machine machine;
  emulator::this_machine = &machine;
  const sargent_emulator_entry* entry = find(overriding, symbol);
  if (!entry) entry = find(sargent_emulator_table, symbol);
  std::string problem = "there is no kernel " + std::string(symbol);
  if (entry) {
    auto kernel = shape->checked ? entry->checked_kernel : entry->kernel;
    problem = std::string(symbol) + " was not built to be checked";
    if (kernel && machine.launch(entry->symbol, kernel, *shape, parameters, problem)) return 0;
  }
  snprintf(message, message_bytes, "%s", problem.c_str());
  return 1;
}
