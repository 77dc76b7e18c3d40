// Memory that nobody has written, and accesses to memory that is not there.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

namespace emulator {

// Every byte 0xFF: NaN in bf16 and f32, -1 as an integer.
inline void poison(void* memory, size_t bytes) { memset(memory, 0xFF, bytes); }

// From the first call on an access to memory that is not there ends the launch with a message.
void catch_faults();

// Ends the launch: the running thread accessed memory that is not there.
[[noreturn]] void fail_at(uintptr_t address);
void* top_of_stack();

// The device buffer that holds an address or lies nearest to it; false if there is none.
bool find_buffer(uintptr_t address, uintptr_t& start, size_t& bytes);

}  // namespace emulator
