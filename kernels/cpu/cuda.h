// Just enough of CUDA for a C++17 compiler to run a kernel whose threads never wait for each other: a loop over blocks and
// threads. A kernel with a barrier, shared memory or a warp operation does not compile with this header, and must not.
#pragma once

#define __global__

struct Dim3 {
  unsigned x, y, z;
};

// One set per thread of the host, so that tests may launch side by side.
static thread_local Dim3 threadIdx, blockIdx, blockDim, gridDim;

// Runs `thread()` for every thread of a one-dimensional launch, the last block and the last thread first: a kernel that
// leaned on the natural order would show.
template <class Thread>
static void launch(unsigned grid, unsigned block, Thread thread) {
  gridDim = {grid, 1, 1};
  blockDim = {block, 1, 1};
  for (unsigned b = grid; b-- > 0;) {
    for (unsigned t = block; t-- > 0;) {
      blockIdx = {b, 0, 0};
      threadIdx = {t, 0, 0};
      thread();
    }
  }
}
