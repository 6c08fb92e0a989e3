// Generalised advantage estimation on time-major rollouts [T, N].
//
// No #include: NVRTC compiles this text without a CUDA toolkit, and a C++ compiler compiles it for the CPU (cpu/).

// A thread per environment, backwards in time. Right when there are enough environments to fill the GPU: the threads of a
// warp read neighbouring columns, so every load and store is one contiguous piece of memory, and every byte moves once.
//
//   delta[t] = reward[t] + gamma * (terminated[t] ? 0 : next_value[t]) - value[t]
//   advantage[t] = delta[t] + (done[t] ? 0 : gamma * gae_lambda * advantage[t + 1])
//   return_[t] = advantage[t] + value[t]
//
// end[t]: 0 where the episode goes on, 1 where it terminated, 2 where it was truncated. Both cuts are selects and not
// products with 0: what stands behind the end of an episode may be NaN.
//
// Launch: one dimension, grid * block >= num_envs. Every element of both outputs is written; outputs overlap nothing.
extern "C" __global__ void gae_serial(
    const float* __restrict__ reward,         // [T, N]
    const float* __restrict__ value,          // [T, N] of the state acted in
    const float* __restrict__ next_value,     // [T, N] of the true successor state, also where truncated
    const unsigned char* __restrict__ end,    // [T, N]
    float* __restrict__ advantage,            // [T, N] out
    float* __restrict__ return_,              // [T, N] out
    int num_steps,                            // T
    int num_envs,                             // N
    float gamma,
    float gae_lambda)
{
  const int n = blockIdx.x * blockDim.x + threadIdx.x;
  if (n >= num_envs) return;
  const float decay = gamma * gae_lambda;
  float following = 0.0f;
  // Unrolled: the loads of 8 steps don't wait for the chain of advantages, which alone is serial.
#pragma unroll 8
  for (int t = num_steps - 1; t >= 0; --t) {
    const long long i = (long long)t * num_envs + n;
    const unsigned char e = end[i];
    const float v = value[i];
    const float delta = reward[i] + (e == 1 ? 0.0f : gamma * next_value[i]) - v;
    following = e != 0 ? delta : delta + decay * following;
    advantage[i] = following;
    return_[i] = following + v;
  }
}
