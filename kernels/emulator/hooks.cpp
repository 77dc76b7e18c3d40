// What kernels of the checked variant call: at every access, and where something happens that C++ does not define.
//
// The compiler's race instrumentation (-fsanitize=thread) calls functions that its runtime library would bring, its
// instrumentation of undefined behaviour (-fsanitize=undefined) others. The libraries are not linked; these are the
// functions.
#include "checker.h"
#include "engine.h"

namespace {

void note(const void* address, size_t bytes, bool writes, const void* code) {
  if (emulator::noting) emulator::note_access(address, bytes, writes, code);
}

// What the compiler passes first to each handler starts with the place in the source.
struct Place {
  const char* file;
  uint32_t line, column;
};

[[noreturn]] void undefined(const char* what, const void* data) {
  const Place& place = *static_cast<const Place*>(data);
  emulator::machine().fail("%s at %s:%u", what, place.file, place.line);
}

}  // namespace

extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}

#define ACCESSES(SIZE)                                                                                          \
  void __tsan_read##SIZE(void* p) { note(p, SIZE, false, __builtin_return_address(0)); }                        \
  void __tsan_write##SIZE(void* p) { note(p, SIZE, true, __builtin_return_address(0)); }                        \
  void __tsan_unaligned_read##SIZE(void* p) { note(p, SIZE, false, __builtin_return_address(0)); }              \
  void __tsan_unaligned_write##SIZE(void* p) { note(p, SIZE, true, __builtin_return_address(0)); }              \
  void __tsan_volatile_read##SIZE(void* p) { note(p, SIZE, false, __builtin_return_address(0)); }               \
  void __tsan_volatile_write##SIZE(void* p) { note(p, SIZE, true, __builtin_return_address(0)); }
ACCESSES(1)
ACCESSES(2)
ACCESSES(4)
ACCESSES(8)
ACCESSES(16)
#undef ACCESSES

void __tsan_read_range(void* p, size_t bytes) { note(p, bytes, false, __builtin_return_address(0)); }
void __tsan_write_range(void* p, size_t bytes) { note(p, bytes, true, __builtin_return_address(0)); }

#define UNDEFINED_1(NAME, WHAT) \
  void __ubsan_handle_##NAME(void* data, void*) { undefined(WHAT, data); }
#define UNDEFINED_2(NAME, WHAT) \
  void __ubsan_handle_##NAME(void* data, void*, void*) { undefined(WHAT, data); }
#define UNDEFINED_0(NAME, WHAT) \
  void __ubsan_handle_##NAME(void* data) { undefined(WHAT, data); }
UNDEFINED_2(add_overflow, "a signed sum that overflows")
UNDEFINED_2(sub_overflow, "a signed difference that overflows")
UNDEFINED_2(mul_overflow, "a signed product that overflows")
UNDEFINED_1(negate_overflow, "a negation that overflows")
UNDEFINED_2(divrem_overflow, "a division by zero, or one that overflows")
UNDEFINED_2(shift_out_of_bounds, "a shift by more bits than there are, or of a negative value")
UNDEFINED_1(out_of_bounds, "an index out of its array's bounds")
UNDEFINED_1(type_mismatch_v1, "an access through a null or misaligned pointer")
UNDEFINED_2(pointer_overflow, "pointer arithmetic that overflows")
UNDEFINED_1(vla_bound_not_positive, "an array without elements")
UNDEFINED_1(load_invalid_value, "a value that its type does not have")
UNDEFINED_1(float_cast_overflow, "a float that does not fit the integer")
UNDEFINED_0(builtin_unreachable, "code that must not be reached")
UNDEFINED_0(missing_return, "the end of a function that returns something")
UNDEFINED_0(nonnull_arg, "a null argument")
}
