// Memory that nobody has written, and accesses to memory that is not there.
#pragma once
#include <stddef.h>
#include <string.h>

namespace emulator {

// Every byte 0xFF: NaN in bf16 and f32, -1 as an integer.
inline void poison(void* memory, size_t bytes) { memset(memory, 0xFF, bytes); }

// From the first call on an access to memory that is not there ends the process with the kernel, block and thread.
void catch_faults();

// The kernel, block and thread that run now.
void describe_current(char* text, size_t bytes);

}  // namespace emulator
