// The vocabulary that kernels are written in: the only place with PTX.
//
// Every word has two bodies, one for the device compiler and one for the emulator (kernels/emulator), so that the same
// kernel source runs on a machine without a card. The destination comes first; the namespace says who takes part.
#pragma once
#include "parameters.h"

#ifndef __CUDACC__
#include "../emulator/machine.h"
#endif

#include "scope.cuh"
// Who, before what.
#include "memory.cuh"
// Memory, before what moves it.
#include "cp_async.cuh"
#include "math.cuh"
#include "matrix.cuh"
#include "mma.cuh"
#include "random.cuh"
#include "reduce.cuh"
// Asynchronous units of sm_90: first what they are waited for with.
#include "mbarrier.cuh"
#include "fence.cuh"
#include "ring.cuh"
#include "tma.cuh"
#include "warpgroup.cuh"
#include "wgmma.cuh"
