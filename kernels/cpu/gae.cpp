// cuda/gae.cu compiled for the CPU.
#include "cuda.h"

#include "../cuda/gae.cu"

extern "C" void rederive_cpu_gae_serial(unsigned grid, unsigned block, const float* reward, const float* value,
                                        const float* next_value, const unsigned char* end, float* advantage,
                                        float* return_, int num_steps, int num_envs, float gamma, float gae_lambda) {
  launch(grid, block, [=] {
    gae_serial(reward, value, next_value, end, advantage, return_, num_steps, num_envs, gamma, gae_lambda);
  });
}
