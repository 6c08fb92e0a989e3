//! REINFORCE and actor-critic.
