//! The nearest known name to one that is not known.

/// The name of `known` nearest to `name`, ignoring case, if one is near enough to be what was meant.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    known
        .into_iter()
        .map(|candidate| (similarity(&name, &candidate.to_lowercase()), candidate))
        .filter(|(similarity, _)| *similarity >= 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// From 0 to 1. A name that is the beginning of the other counts as near: `CartPole` for `CartPole-v1`.
fn similarity(name: &str, candidate: &str) -> f64 {
    let edits = strsim::normalized_damerau_levenshtein(name, candidate);
    if name.len() >= 3 && candidate.starts_with(name) { edits.max(0.9) } else { edits }
}

/// `` ; did you mean `CartPole-v1`? ``, or nothing.
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, known).map_or_else(String::new, |near| format!("; did you mean `{near}`?"))
}

/// This project's name of a field that CleanRL or Stable-Baselines3 call `name`.
pub fn translate(name: &str) -> Option<&'static str> {
    Some(match name {
        "anneal_lr" => "lr_schedule",
        "batch_size" | "minibatch_size" => "minibatch",
        "clip_coef" | "clip_range" => "clip_eps",
        "clip_range_vf" | "clip_vloss" => "clip_value",
        "learning_rate" => "lr",
        "log_std_init" => "log_std",
        "n_envs" => "num_envs",
        "n_epochs" | "update_epochs" => "num_epochs",
        "n_steps" => "num_steps",
        "n_timesteps" | "total_timesteps" => "steps",
        "net_arch" => "hidden",
        "norm_adv" => "normalize_advantage",
        "ortho_init" => "init",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found() {
        let known = ["gamma", "gae_lambda", "CartPole-v1", "Acrobot-v1"];
        for (name, near) in [
            ("gama", Some("gamma")),
            ("lambda", Some("gae_lambda")),
            ("cartpole", Some("CartPole-v1")),
            ("CartPole-v0", Some("CartPole-v1")),
            ("acrobat-v1", Some("Acrobot-v1")),
            ("zzz", None),
        ] {
            assert_eq!(nearest(name, known), near, "{name}");
        }
    }
}
