//! Samplers and schedulers, as AUTOMATIC1111's web UI calls them.

use crate::fields::Fields;
use crate::refusal::Refusal;
use nijimi_runtime::sampler::{Sigmas, Solver};
use serde_json::{Value, json};

/// Its name, other names of k-diffusion's, and ours. What it lacks goes by our name.
const SAMPLERS: [(&str, &str, &str); 15] = [
    ("Euler a", "k_euler_a", "euler_a"),
    ("Euler", "k_euler", "euler"),
    ("LMS", "k_lms", "lms"),
    ("Heun", "k_heun", "heun"),
    ("DPM2", "k_dpm_2", "dpm2"),
    ("DPM2 a", "k_dpm_2_a", "dpm2_a"),
    ("DPM++ 2S a", "k_dpmpp_2s_a", "dpm++2s_a"),
    ("DPM++ 2M", "k_dpmpp_2m", "dpm++2m"),
    ("DPM++ 2M SDE", "k_dpmpp_2m_sde", "dpm++2m_sde"),
    ("DPM++ 3M SDE", "k_dpmpp_3m_sde", "dpm++3m_sde"),
    ("DDIM", "ddim", "ddim"),
    ("PLMS", "plms", "plms"),
    ("UniPC", "unipc", "unipc"),
    ("LCM", "k_lcm", "lcm"),
    ("DDPM", "ddpm", "ddpm"),
];

/// Its name, its label, and ours.
const SCHEDULERS: [(&str, &str, &str); 8] = [
    ("uniform", "Uniform", "discrete"),
    ("karras", "Karras", "karras"),
    ("exponential", "Exponential", "exponential"),
    ("sgm_uniform", "SGM Uniform", "sgm_uniform"),
    ("kl_optimal", "KL Optimal", "kl_optimal"),
    ("simple", "Simple", "simple"),
    ("beta", "Beta", "beta"),
    ("lu", "Lu", "lu"),
];

/// The sampler and the scheduler that are asked for, by our names; nothing is the model's own way.
pub fn sampling(fields: &mut Fields) -> Result<(Option<String>, Option<String>), Refusal> {
    let (mut sampler, old) = (fields.name("sampler_name")?, fields.name("sampler_index")?);
    if let (Some(one), Some(other)) = (&sampler, &old)
        && one != other
    {
        return Err(Refusal::field("sampler_index", "another sampler than sampler_name: leave it out"));
    }
    sampler = sampler.or(old).filter(|name| !name.is_empty() && name != "Automatic");
    let mut scheduler =
        fields.name("scheduler")?.filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("automatic"));
    // Before version 1.9, a sampler had its scheduler in its name.
    for (_, label, _) in SCHEDULERS {
        if let Some(bare) = sampler.as_ref().and_then(|name| name.strip_suffix(&format!(" {label}"))) {
            if scheduler.is_none() {
                scheduler = Some(label.into());
            }
            sampler = Some(bare.into());
        }
    }
    let sampler = sampler.map(|name| solver(&name).ok_or_else(|| unknown("sampler_name", "samplers"))).transpose()?;
    let scheduler =
        scheduler.map(|name| sigmas(&name).ok_or_else(|| unknown("scheduler", "schedulers"))).transpose()?;
    Ok((sampler, scheduler))
}

fn unknown(field: &str, list: &str) -> Refusal {
    Refusal::field(field, format!("not known: GET /sdapi/v1/{list} tells which there are"))
}

fn solver(name: &str) -> Option<String> {
    let is = |known: &str| known.eq_ignore_ascii_case(name);
    let found = SAMPLERS.iter().find(|(own, alias, _)| is(own) || is(alias)).map(|(_, _, ours)| *ours);
    found.or_else(|| Solver::from_name(name).map(|_| name)).map(str::to_owned)
}

fn sigmas(name: &str) -> Option<String> {
    let is = |known: &str| known.eq_ignore_ascii_case(name);
    let found = SCHEDULERS.iter().find(|(own, label, _)| is(own) || is(label)).map(|(_, _, ours)| *ours);
    found.or_else(|| Sigmas::from_name(name).map(|_| name)).map(str::to_owned)
}

/// What the web UI calls one of ours.
pub fn label(ours: &str) -> &str {
    SAMPLERS.iter().find(|known| known.2 == ours).map_or(ours, |known| known.0)
}

pub fn samplers() -> Value {
    let known =
        SAMPLERS.iter().map(|(name, alias, ours)| json!({ "name": name, "aliases": [alias, ours], "options": {} }));
    let own = Solver::NAMES.split(", ").filter(|ours| label(ours) == *ours);
    known.chain(own.map(|name| json!({ "name": name, "aliases": [], "options": {} }))).collect()
}

pub fn schedulers() -> Value {
    let row = |name: &str, label: &str| json!({ "name": name, "label": label, "aliases": null, "default_rho": -1.0, "need_inner_model": false });
    let rows = SCHEDULERS.iter().map(|(name, label, _)| row(name, label));
    std::iter::once(row("automatic", "Automatic")).chain(rows).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(value: Value) -> Result<(Option<String>, Option<String>), Refusal> {
        sampling(&mut Fields::of_json(value.to_string().as_bytes()).unwrap())
    }

    // Seen red: the suffix kept in the sampler's name.
    #[test]
    fn names_of_all_times() {
        for (sampler, scheduler, ours, sigmas) in [
            ("Euler a", "", "euler_a", None),
            ("DPM++ 2M Karras", "", "dpm++2m", Some("karras")),
            ("DPM++ 2M SDE Exponential", "Automatic", "dpm++2m_sde", Some("exponential")),
            ("DPM++ 2M Karras", "Uniform", "dpm++2m", Some("discrete")),
            ("k_euler", "sgm_uniform", "euler", Some("sgm_uniform")),
            ("dpm++2s", "SGM Uniform", "dpm++2s", Some("sgm_uniform")),
            ("DDIM", "automatic", "ddim", None),
        ] {
            let found = asked(json!({ "sampler_name": sampler, "scheduler": scheduler }));
            assert_eq!(found, Ok((Some(ours.into()), sigmas.map(str::to_owned))), "{sampler}");
        }
        assert_eq!(asked(json!({ "sampler_index": "Euler" })), Ok((Some("euler".into()), None)));
        assert_eq!(asked(json!({})), Ok((None, None)));
        assert!(asked(json!({ "sampler_name": "DPM adaptive" })).is_err());
        assert!(asked(json!({ "sampler_name": "Euler", "sampler_index": "LMS" })).is_err());
        assert!(asked(json!({ "scheduler": "Align Your Steps" })).is_err());
    }

    /// Each name leads to a solver, and each solver has a name.
    // Seen red: karras spelled otherwise.
    #[test]
    fn every_name_is_known() {
        for (_, _, ours) in SAMPLERS {
            assert!(Solver::from_name(ours).is_some(), "{ours}");
        }
        for (_, _, ours) in SCHEDULERS {
            assert!(Sigmas::from_name(ours).is_some(), "{ours}");
        }
        assert_eq!(samplers().as_array().unwrap().len(), Solver::NAMES.split(", ").count());
    }
}
