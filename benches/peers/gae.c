// GAE as a plain C loop over whole rows, backwards in time; `gae_c.py` compiles and times it.
#include <stddef.h>
#include <stdint.h>

void gae(size_t num_steps, size_t num_envs, float gamma, float chain, const float *restrict reward,
         const float *restrict value, const float *restrict next_value, const uint8_t *restrict end,
         float *restrict advantage, float *restrict return_) {
    // The last row has nothing after it; reading its own stale output times zero would let a NaN through.
    const size_t last = (num_steps - 1) * num_envs;
    for (size_t i = last; i < last + num_envs; ++i) {
        advantage[i] = reward[i] + (end[i] == 1 ? 0.0f : gamma * next_value[i]) - value[i];
        return_[i] = advantage[i] + value[i];
    }
    for (size_t t = num_steps - 1; t-- > 0;) {
        const size_t row = t * num_envs;
        for (size_t i = row; i < row + num_envs; ++i) {
            float delta = reward[i] + (end[i] == 1 ? 0.0f : gamma * next_value[i]) - value[i];
            advantage[i] = delta + (end[i] == 0 ? chain * advantage[i + num_envs] : 0.0f);
            return_[i] = advantage[i] + value[i];
        }
    }
}

// `calls` calls in a row, so that the caller's overhead is paid once.
void gae_calls(size_t calls, size_t num_steps, size_t num_envs, float gamma, float chain, const float *reward,
               const float *value, const float *next_value, const uint8_t *end, float *advantage, float *return_) {
    while (calls--) {
        gae(num_steps, num_envs, gamma, chain, reward, value, next_value, end, advantage, return_);
        __asm__ volatile("" ::: "memory");
    }
}
