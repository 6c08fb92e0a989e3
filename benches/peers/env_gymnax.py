"""Stepping CartPole-v1 with gymnax: a compiled scan over vectorised steps, random actions drawn beforehand."""

import job


def run(args):
    import gymnax
    import jax

    env, parameters = gymnax.make(job.PPO["env"])

    def prepare(num_envs):
        key, reset_key, action_key = jax.random.split(jax.random.PRNGKey(args.seed), 3)
        _, state = jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(reset_key, num_envs), parameters)
        actions = jax.random.randint(action_key, (job.ENV_ACTION_ROWS, num_envs), 0, 2)

        @jax.jit
        def steps(key, state):
            def one(carry, action):
                key, state = carry
                key, step_key = jax.random.split(key)
                obs, state, reward, done, _ = jax.vmap(env.step, in_axes=(0, 0, 0, None))(
                    jax.random.split(step_key, num_envs), state, action, parameters
                )
                # Kept, so that the compiler can't drop what an agent would read.
                return (key, state), (obs, reward, done)

            return jax.lax.scan(one, (key, state), actions)

        now = [(key, state)]

        def call():
            now[0], seen = steps(*now[0])
            jax.block_until_ready(seen)

        return call, job.ENV_ACTION_ROWS * num_envs

    return {"version": job.version("gymnax", "jax"), **job.env_report(prepare)}


if __name__ == "__main__":
    job.main("gymnax", run)
