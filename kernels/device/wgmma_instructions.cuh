// The instructions of wgmma.cuh: m64nNk16 for every N, with A in shared memory or in registers.
//
// An instruction names its operands by number, the sums first; N has N / 2 of them, four for each eight columns.
#pragma once

#ifdef __CUDACC__

#define WGMMA_SUMS_8 "%0, %1, %2, %3"
#define WGMMA_SUMS_16 WGMMA_SUMS_8 ", %4, %5, %6, %7"
#define WGMMA_SUMS_24 WGMMA_SUMS_16 ", %8, %9, %10, %11"
#define WGMMA_SUMS_32 WGMMA_SUMS_24 ", %12, %13, %14, %15"
#define WGMMA_SUMS_40 WGMMA_SUMS_32 ", %16, %17, %18, %19"
#define WGMMA_SUMS_48 WGMMA_SUMS_40 ", %20, %21, %22, %23"
#define WGMMA_SUMS_56 WGMMA_SUMS_48 ", %24, %25, %26, %27"
#define WGMMA_SUMS_64 WGMMA_SUMS_56 ", %28, %29, %30, %31"
#define WGMMA_SUMS_72 WGMMA_SUMS_64 ", %32, %33, %34, %35"
#define WGMMA_SUMS_80 WGMMA_SUMS_72 ", %36, %37, %38, %39"
#define WGMMA_SUMS_88 WGMMA_SUMS_80 ", %40, %41, %42, %43"
#define WGMMA_SUMS_96 WGMMA_SUMS_88 ", %44, %45, %46, %47"
#define WGMMA_SUMS_104 WGMMA_SUMS_96 ", %48, %49, %50, %51"
#define WGMMA_SUMS_112 WGMMA_SUMS_104 ", %52, %53, %54, %55"
#define WGMMA_SUMS_120 WGMMA_SUMS_112 ", %56, %57, %58, %59"
#define WGMMA_SUMS_128 WGMMA_SUMS_120 ", %60, %61, %62, %63"
#define WGMMA_SUMS_136 WGMMA_SUMS_128 ", %64, %65, %66, %67"
#define WGMMA_SUMS_144 WGMMA_SUMS_136 ", %68, %69, %70, %71"
#define WGMMA_SUMS_152 WGMMA_SUMS_144 ", %72, %73, %74, %75"
#define WGMMA_SUMS_160 WGMMA_SUMS_152 ", %76, %77, %78, %79"
#define WGMMA_SUMS_168 WGMMA_SUMS_160 ", %80, %81, %82, %83"
#define WGMMA_SUMS_176 WGMMA_SUMS_168 ", %84, %85, %86, %87"
#define WGMMA_SUMS_184 WGMMA_SUMS_176 ", %88, %89, %90, %91"
#define WGMMA_SUMS_192 WGMMA_SUMS_184 ", %92, %93, %94, %95"
#define WGMMA_SUMS_200 WGMMA_SUMS_192 ", %96, %97, %98, %99"
#define WGMMA_SUMS_208 WGMMA_SUMS_200 ", %100, %101, %102, %103"
#define WGMMA_SUMS_216 WGMMA_SUMS_208 ", %104, %105, %106, %107"
#define WGMMA_SUMS_224 WGMMA_SUMS_216 ", %108, %109, %110, %111"
#define WGMMA_SUMS_232 WGMMA_SUMS_224 ", %112, %113, %114, %115"
#define WGMMA_SUMS_240 WGMMA_SUMS_232 ", %116, %117, %118, %119"
#define WGMMA_SUMS_248 WGMMA_SUMS_240 ", %120, %121, %122, %123"
#define WGMMA_SUMS_256 WGMMA_SUMS_248 ", %124, %125, %126, %127"

#define WGMMA_OPERANDS_8 "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
#define WGMMA_OPERANDS_16 WGMMA_OPERANDS_8, "+f"(c[4]), "+f"(c[5]), "+f"(c[6]), "+f"(c[7])
#define WGMMA_OPERANDS_24 WGMMA_OPERANDS_16, "+f"(c[8]), "+f"(c[9]), "+f"(c[10]), "+f"(c[11])
#define WGMMA_OPERANDS_32 WGMMA_OPERANDS_24, "+f"(c[12]), "+f"(c[13]), "+f"(c[14]), "+f"(c[15])
#define WGMMA_OPERANDS_40 WGMMA_OPERANDS_32, "+f"(c[16]), "+f"(c[17]), "+f"(c[18]), "+f"(c[19])
#define WGMMA_OPERANDS_48 WGMMA_OPERANDS_40, "+f"(c[20]), "+f"(c[21]), "+f"(c[22]), "+f"(c[23])
#define WGMMA_OPERANDS_56 WGMMA_OPERANDS_48, "+f"(c[24]), "+f"(c[25]), "+f"(c[26]), "+f"(c[27])
#define WGMMA_OPERANDS_64 WGMMA_OPERANDS_56, "+f"(c[28]), "+f"(c[29]), "+f"(c[30]), "+f"(c[31])
#define WGMMA_OPERANDS_72 WGMMA_OPERANDS_64, "+f"(c[32]), "+f"(c[33]), "+f"(c[34]), "+f"(c[35])
#define WGMMA_OPERANDS_80 WGMMA_OPERANDS_72, "+f"(c[36]), "+f"(c[37]), "+f"(c[38]), "+f"(c[39])
#define WGMMA_OPERANDS_88 WGMMA_OPERANDS_80, "+f"(c[40]), "+f"(c[41]), "+f"(c[42]), "+f"(c[43])
#define WGMMA_OPERANDS_96 WGMMA_OPERANDS_88, "+f"(c[44]), "+f"(c[45]), "+f"(c[46]), "+f"(c[47])
#define WGMMA_OPERANDS_104 WGMMA_OPERANDS_96, "+f"(c[48]), "+f"(c[49]), "+f"(c[50]), "+f"(c[51])
#define WGMMA_OPERANDS_112 WGMMA_OPERANDS_104, "+f"(c[52]), "+f"(c[53]), "+f"(c[54]), "+f"(c[55])
#define WGMMA_OPERANDS_120 WGMMA_OPERANDS_112, "+f"(c[56]), "+f"(c[57]), "+f"(c[58]), "+f"(c[59])
#define WGMMA_OPERANDS_128 WGMMA_OPERANDS_120, "+f"(c[60]), "+f"(c[61]), "+f"(c[62]), "+f"(c[63])
#define WGMMA_OPERANDS_136 WGMMA_OPERANDS_128, "+f"(c[64]), "+f"(c[65]), "+f"(c[66]), "+f"(c[67])
#define WGMMA_OPERANDS_144 WGMMA_OPERANDS_136, "+f"(c[68]), "+f"(c[69]), "+f"(c[70]), "+f"(c[71])
#define WGMMA_OPERANDS_152 WGMMA_OPERANDS_144, "+f"(c[72]), "+f"(c[73]), "+f"(c[74]), "+f"(c[75])
#define WGMMA_OPERANDS_160 WGMMA_OPERANDS_152, "+f"(c[76]), "+f"(c[77]), "+f"(c[78]), "+f"(c[79])
#define WGMMA_OPERANDS_168 WGMMA_OPERANDS_160, "+f"(c[80]), "+f"(c[81]), "+f"(c[82]), "+f"(c[83])
#define WGMMA_OPERANDS_176 WGMMA_OPERANDS_168, "+f"(c[84]), "+f"(c[85]), "+f"(c[86]), "+f"(c[87])
#define WGMMA_OPERANDS_184 WGMMA_OPERANDS_176, "+f"(c[88]), "+f"(c[89]), "+f"(c[90]), "+f"(c[91])
#define WGMMA_OPERANDS_192 WGMMA_OPERANDS_184, "+f"(c[92]), "+f"(c[93]), "+f"(c[94]), "+f"(c[95])
#define WGMMA_OPERANDS_200 WGMMA_OPERANDS_192, "+f"(c[96]), "+f"(c[97]), "+f"(c[98]), "+f"(c[99])
#define WGMMA_OPERANDS_208 WGMMA_OPERANDS_200, "+f"(c[100]), "+f"(c[101]), "+f"(c[102]), "+f"(c[103])
#define WGMMA_OPERANDS_216 WGMMA_OPERANDS_208, "+f"(c[104]), "+f"(c[105]), "+f"(c[106]), "+f"(c[107])
#define WGMMA_OPERANDS_224 WGMMA_OPERANDS_216, "+f"(c[108]), "+f"(c[109]), "+f"(c[110]), "+f"(c[111])
#define WGMMA_OPERANDS_232 WGMMA_OPERANDS_224, "+f"(c[112]), "+f"(c[113]), "+f"(c[114]), "+f"(c[115])
#define WGMMA_OPERANDS_240 WGMMA_OPERANDS_232, "+f"(c[116]), "+f"(c[117]), "+f"(c[118]), "+f"(c[119])
#define WGMMA_OPERANDS_248 WGMMA_OPERANDS_240, "+f"(c[120]), "+f"(c[121]), "+f"(c[122]), "+f"(c[123])
#define WGMMA_OPERANDS_256 WGMMA_OPERANDS_248, "+f"(c[124]), "+f"(c[125]), "+f"(c[126]), "+f"(c[127])

namespace wgmma {

template <int N>
struct Instruction;

// O0 to O6 are the numbers of the operands behind the sums.
#define WGMMA_INSTRUCTION(N, O0, O1, O2, O3, O4, O5, O6)                                                              \
  template <>                                                                                                         \
  struct Instruction<N> {                                                                                             \
    template <int A_TRANSPOSED, int B_TRANSPOSED>                                                                     \
    DEVICE static void multiply(float (&c)[N / 2], uint64_t a, uint64_t b, int accumulate) {                          \
      asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " O2 ", 0;\n"                                                    \
                   "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32.bf16.bf16 {" WGMMA_SUMS_##N "}, " O0 ", " O1       \
                   ", p, 1, 1, " O3 ", " O4 ";\n}"                                                                    \
                   : WGMMA_OPERANDS_##N                                                                               \
                   : "l"(a), "l"(b), "r"(accumulate), "n"(A_TRANSPOSED), "n"(B_TRANSPOSED)                            \
                   : "memory");                                                                                       \
    }                                                                                                                 \
    template <int B_TRANSPOSED>                                                                                       \
    DEVICE static void multiply(float (&c)[N / 2], const uint32_t (&a)[4], uint64_t b, int accumulate) {              \
      asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " O5 ", 0;\n"                                                    \
                   "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32.bf16.bf16 {" WGMMA_SUMS_##N "}, {" O0 ", " O1      \
                   ", " O2 ", " O3 "}, " O4 ", p, 1, 1, " O6 ";\n}"                                                   \
                   : WGMMA_OPERANDS_##N                                                                               \
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate), "n"(B_TRANSPOSED)           \
                   : "memory");                                                                                       \
    }                                                                                                                 \
  };

WGMMA_INSTRUCTION(8, "%4", "%5", "%6", "%7", "%8", "%9", "%10")
WGMMA_INSTRUCTION(16, "%8", "%9", "%10", "%11", "%12", "%13", "%14")
WGMMA_INSTRUCTION(24, "%12", "%13", "%14", "%15", "%16", "%17", "%18")
WGMMA_INSTRUCTION(32, "%16", "%17", "%18", "%19", "%20", "%21", "%22")
WGMMA_INSTRUCTION(40, "%20", "%21", "%22", "%23", "%24", "%25", "%26")
WGMMA_INSTRUCTION(48, "%24", "%25", "%26", "%27", "%28", "%29", "%30")
WGMMA_INSTRUCTION(56, "%28", "%29", "%30", "%31", "%32", "%33", "%34")
WGMMA_INSTRUCTION(64, "%32", "%33", "%34", "%35", "%36", "%37", "%38")
WGMMA_INSTRUCTION(72, "%36", "%37", "%38", "%39", "%40", "%41", "%42")
WGMMA_INSTRUCTION(80, "%40", "%41", "%42", "%43", "%44", "%45", "%46")
WGMMA_INSTRUCTION(88, "%44", "%45", "%46", "%47", "%48", "%49", "%50")
WGMMA_INSTRUCTION(96, "%48", "%49", "%50", "%51", "%52", "%53", "%54")
WGMMA_INSTRUCTION(104, "%52", "%53", "%54", "%55", "%56", "%57", "%58")
WGMMA_INSTRUCTION(112, "%56", "%57", "%58", "%59", "%60", "%61", "%62")
WGMMA_INSTRUCTION(120, "%60", "%61", "%62", "%63", "%64", "%65", "%66")
WGMMA_INSTRUCTION(128, "%64", "%65", "%66", "%67", "%68", "%69", "%70")
WGMMA_INSTRUCTION(136, "%68", "%69", "%70", "%71", "%72", "%73", "%74")
WGMMA_INSTRUCTION(144, "%72", "%73", "%74", "%75", "%76", "%77", "%78")
WGMMA_INSTRUCTION(152, "%76", "%77", "%78", "%79", "%80", "%81", "%82")
WGMMA_INSTRUCTION(160, "%80", "%81", "%82", "%83", "%84", "%85", "%86")
WGMMA_INSTRUCTION(168, "%84", "%85", "%86", "%87", "%88", "%89", "%90")
WGMMA_INSTRUCTION(176, "%88", "%89", "%90", "%91", "%92", "%93", "%94")
WGMMA_INSTRUCTION(184, "%92", "%93", "%94", "%95", "%96", "%97", "%98")
WGMMA_INSTRUCTION(192, "%96", "%97", "%98", "%99", "%100", "%101", "%102")
WGMMA_INSTRUCTION(200, "%100", "%101", "%102", "%103", "%104", "%105", "%106")
WGMMA_INSTRUCTION(208, "%104", "%105", "%106", "%107", "%108", "%109", "%110")
WGMMA_INSTRUCTION(216, "%108", "%109", "%110", "%111", "%112", "%113", "%114")
WGMMA_INSTRUCTION(224, "%112", "%113", "%114", "%115", "%116", "%117", "%118")
WGMMA_INSTRUCTION(232, "%116", "%117", "%118", "%119", "%120", "%121", "%122")
WGMMA_INSTRUCTION(240, "%120", "%121", "%122", "%123", "%124", "%125", "%126")
WGMMA_INSTRUCTION(248, "%124", "%125", "%126", "%127", "%128", "%129", "%130")
WGMMA_INSTRUCTION(256, "%128", "%129", "%130", "%131", "%132", "%133", "%134")

#undef WGMMA_INSTRUCTION

}  // namespace wgmma

#endif
